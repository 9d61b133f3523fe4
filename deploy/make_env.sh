#!/bin/sh
# Write .env for docker-compose: .env.example with a fresh secret in every empty place.
# An .env that is there stays as it is.
set -eu
cd "$(dirname "$0")/.."

umask 077
if [ -e .env ]; then
    echo "make_env: .env exists; remove it first, and with it its passwords" >&2
    exit 1
fi
secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
while IFS= read -r line; do
    case $line in
        SECRET_KEY= | COMPLIANCE_MASTER_KEY= | [A-Z]*_PASSWORD=) printf '%s%s\n' "$line" "$(secret)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env
echo "make_env: wrote .env"
