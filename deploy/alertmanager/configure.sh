#!/bin/sh
# Print Alertmanager's configuration: alertmanager.yml, and those whom the environment names to be
# told. Alertmanager itself expands no variables. With nobody to tell it ends with 1.
set -eu
cd "$(dirname "$0")"

refuse() {
    printf 'alertmanager: %s\n' "$1" >&2
    exit 1
}
# A value as YAML takes it, whatever is in it.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

if [ -z "${ALERT_EMAIL_TO:-}${ALERT_WEBHOOK_URL:-}" ]; then
    refuse "nobody would be told of alerts; set ALERT_EMAIL_TO or ALERT_WEBHOOK_URL in .env"
fi
if [ -n "${ALERT_EMAIL_TO:-}" ] && [ -z "${EMAIL_HOST:-}" ]; then
    refuse "ALERT_EMAIL_TO needs the mail server; set EMAIL_HOST in .env"
fi

case ${EMAIL_USE_TLS:-false} in
    1 | [Tt][Rr][Uu][Ee] | [Yy][Ee][Ss] | [Oo][Nn]) is_tls_demanded=true ;;
    *) is_tls_demanded=false ;;
esac

cat alertmanager.yml
if [ -n "${ALERT_EMAIL_TO:-}" ]; then
    cat <<YAML
    email_configs:
      - to: $(quoted "$ALERT_EMAIL_TO")
        from: $(quoted "${DEFAULT_FROM_EMAIL:-compliance-console@localhost}")
        smarthost: $(quoted "$EMAIL_HOST:${EMAIL_PORT:-25}")
        auth_username: $(quoted "${EMAIL_HOST_USER:-}")
        auth_password: $(quoted "${EMAIL_HOST_PASSWORD:-}")
        require_tls: $is_tls_demanded
        send_resolved: true
YAML
fi
if [ -n "${ALERT_WEBHOOK_URL:-}" ]; then
    cat <<YAML
    webhook_configs:
      - url: $(quoted "$ALERT_WEBHOOK_URL")
YAML
fi
