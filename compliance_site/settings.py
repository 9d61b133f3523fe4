"""The console's settings, read from the environment; `.env.example` lists every variable.

With `DATABASE_URL` and `REDIS_URL` unset this is a development console on embedded
services. With them set it is a production console, unless `COMPLIANCE_ENV` says otherwise,
and `checks.py` refuses to start one that is not safe.
"""

from datetime import timedelta
from typing import Any

from celery.schedules import crontab
from csp.constants import NONE, SELF

from compliance_site.foundation import embedded
from compliance_site.foundation.development_key import (
    development_backup_identity,
    development_key,
    development_master_key,
)
from compliance_site.foundation.env import (
    env_bool,
    env_choice,
    env_int,
    env_list,
    env_networks,
    env_path,
    env_secret,
    env_str,
    postgresql_database,
)
from compliance_site.foundation.logs import logging_config
from compliance_site.foundation.paths import BASE_DIR, VAR_DIR

# Services: what is not configured is embedded.
DATABASE_URL = env_secret("DATABASE_URL", "")
REDIS_URL = env_secret("REDIS_URL", "")
EMBEDDED = not (DATABASE_URL and REDIS_URL)
ENVIRONMENT = env_choice(
    "COMPLIANCE_ENV", ("development", "production"), "development" if EMBEDDED else "production"
)
PRODUCTION = ENVIRONMENT == "production"

if EMBEDDED:
    _endpoints = embedded.endpoints(VAR_DIR)
    DATABASE_OWNER_URL = env_secret(
        "DATABASE_OWNER_URL", "" if DATABASE_URL else _endpoints.owner_url
    )
    DATABASE_ADMIN_URL = env_secret(
        "DATABASE_ADMIN_URL", "" if DATABASE_URL else _endpoints.admin_url
    )
    DATABASE_URL = DATABASE_URL or _endpoints.database_url
    REDIS_URL = REDIS_URL or _endpoints.redis_url
else:
    DATABASE_OWNER_URL = env_secret("DATABASE_OWNER_URL", "")
    # Known only where databases are made, backed up and restored.
    DATABASE_ADMIN_URL = env_secret("DATABASE_ADMIN_URL", "")

DATABASES = {
    "default": postgresql_database(DATABASE_URL, name="DATABASE_URL")
    | {
        "ENGINE": "compliance_site.foundation.postgresql",
        "CONN_MAX_AGE": env_int("DATABASE_CONN_MAX_AGE", 60, minimum=0),
        "CONN_HEALTH_CHECKS": True,
    },
    # Migrations and grants only: the running console never connects with it.
    "owner": postgresql_database(DATABASE_OWNER_URL or DATABASE_URL, name="DATABASE_OWNER_URL"),
}
# Seconds that a request waits for one answer of a database that otherwise answers.
DATABASE_DEADLINE_SECONDS = env_int("DATABASE_DEADLINE_SECONDS", 60, minimum=5)
DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Django itself
DEBUG = env_bool("DEBUG", False)
SECRET_KEY = development_key(VAR_DIR) if EMBEDDED else env_secret("SECRET_KEY")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", () if PRODUCTION else ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "compliance_site.urls"
WSGI_APPLICATION = "compliance_site.wsgi.application"
ASGI_APPLICATION = "compliance_site.asgi.application"

INSTALLED_APPS = [
    "compliance_site",
    "compliance_site.console.apps.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "django_prometheus",
    "django_celery_beat",
    "audit",
    "compliance_site.foundation.notices",
    "secrets_rotation",
    "recovery",
    "code_scanning",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    # Outside everything that can refuse a request, so that refusals are recorded too.
    "audit.capture.middleware.AuditMiddleware",
    # Before anything asks the database; what it refuses is recorded too.
    "compliance_site.foundation.maintenance.maintenance_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            # The console is no app of its own, so its template tags are named here.
            "libraries": {"console": "compliance_site.console.templatetags.console"},
        },
    },
]

# Time and language: UTC everywhere, English only.
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
LANGUAGE_CODE = "en-us"

# Static files
STATIC_URL = "/static/"
# In development the apps' own files are served, nothing is collected.
STATIC_ROOT = env_path("STATIC_ROOT", BASE_DIR / "staticfiles" if PRODUCTION else None)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION

# Sign-in
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_AGE = env_int("SESSION_HOURS", 12, minimum=1) * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = env_bool("COOKIE_SECURE", PRODUCTION)
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
AXES_FAILURE_LIMIT = env_int("SIGN_IN_ATTEMPTS", 5, minimum=1)
AXES_COOLOFF_TIME = timedelta(minutes=env_int("SIGN_IN_LOCKOUT_MINUTES", 15, minimum=1))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "audit.capture.client_ip.client_ip"
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_VERBOSE = False
AXES_HANDLER = "compliance_site.console.lockout.QuietHandler"
AXES_USERNAME_CALLABLE = "compliance_site.console.lockout.attempted_name"
REST_KNOX = {
    "TOKEN_TTL": timedelta(days=env_int("API_TOKEN_DAYS", 90, minimum=1)),
    "TOKEN_PREFIX": "cc_",
}

# Behind a proxy
TRUSTED_PROXIES = env_networks("TRUSTED_PROXIES")
HEALTH_DETAIL_NETWORKS = env_networks("HEALTH_DETAIL_NETWORKS", ("127.0.0.0/8", "::1/128"))
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# What browsers are told
SECURE_SSL_REDIRECT = env_bool("SSL_REDIRECT", False)
# Containers, load balancers and Prometheus ask these in plain HTTP; the others may carry a token.
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^health/ready$", r"^metrics$"]
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31_536_000 if PRODUCTION else 0, minimum=0)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "compliance_site.foundation.api.authentication.ConsoleTokenAuthentication",
        "compliance_site.foundation.api.authentication.ConsoleSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["compliance_site.foundation.api.permissions.Nobody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["compliance_site.foundation.api.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "compliance_site.foundation.api.errors.error_response",
    # DRF would take `?format=csv` for its own and answer 404.
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Compliance console",
    "DESCRIPTION": "Audit trail, secret rotation, recovery and code-scan evidence.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": None,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "HealthStatus": "recovery.api.health_serializers.STATUSES",
        "ReadyStatus": "recovery.api.health_serializers.READY_STATUSES",
    },
}

# Celery
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# What needs an administrator's rights, and hours: a worker of its own may do it.
CELERY_TASK_ROUTES = {"recovery.heavy.*": {"queue": "recovery"}}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "audit.make_partitions": {
        "task": "audit.make_partitions",
        "schedule": crontab(hour="0", minute="10"),
    },
    "audit.close_orphans": {"task": "audit.close_orphans", "schedule": crontab()},
    "notices.send_waiting": {"task": "notices.send_waiting", "schedule": crontab()},
    "secrets_rotation.tick": {"task": "secrets_rotation.tick", "schedule": crontab()},
    # Each night, for what is due is found out then; before the dumps of the logical backups.
    "recovery.heavy.base_backups": {
        "task": "recovery.heavy.base_backups",
        "schedule": crontab(hour="0", minute="30"),
    },
    "recovery.heavy.backup_all": {
        "task": "recovery.heavy.backup_all",
        "schedule": crontab(hour="2", minute="0"),
    },
    # Of a minute that is over, nothing can be said any more.
    "recovery.sample_health": {
        "task": "recovery.sample_health",
        "schedule": crontab(),
        "options": {"expires": 55},
    },
    "recovery.heavy.prune": {
        "task": "recovery.heavy.prune",
        "schedule": crontab(hour="4", minute="0"),
    },
    "recovery.heavy.verify_newest": {
        "task": "recovery.heavy.verify_newest",
        "schedule": crontab(day_of_week="sunday", hour="3", minute="0"),
    },
    "recovery.give_up_waiting": {
        "task": "recovery.give_up_waiting",
        "schedule": crontab(minute="*/5"),
    },
}

# Audit trail
AUDIT_RETENTION_DAYS = env_int("AUDIT_RETENTION_DAYS", 90, minimum=1)
# How much is recorded where no rule says it.
AUDIT_LOG_LEVEL = env_str("AUDIT_LOG_LEVEL", "request")
# The first rule that matches a request decides; `audit/capture/policy.py` describes them.
AUDIT_POLICY: list[dict[str, Any]] = [
    # Declared exclusions: probes, scrapes and static files are not recorded.
    {"path": "/health", "level": "none"},
    {"path": "/metrics", "level": "none"},
    {"path": "/static", "level": "none"},
    # Their bodies are only measured: ingested events become entries of their own, people type
    # passwords into the name field of the sign-in page, and a look-up names the secret itself.
    {"path": "/audit/events", "level": "metadata"},
    {"path": "/admin/login", "level": "metadata"},
    {"path": "/audit/redaction/lookup", "level": "metadata"},
    # Their bodies carry values and credentials; what they change is recorded as an event.
    {"path": "/secrets", "methods": ["POST", "PUT", "PATCH"], "level": "metadata"},
    {"path": "/admin/secrets_rotation", "methods": ["POST"], "level": "metadata"},
    # Users and their roles: not even a killed server leaves a change without a trace.
    {"path": "/admin/auth", "methods": ["POST"], "strictness": "write_ahead"},
]
# Longer than any request takes: an intent without an entry is then closed as unknown.
AUDIT_ORPHAN_MINUTES = env_int("AUDIT_ORPHAN_MINUTES", 15, minimum=1)
# Seconds that a commit of entries may take before the database counts as away.
AUDIT_COMMIT_SECONDS = env_int("AUDIT_COMMIT_SECONDS", 5, minimum=1)
# Where entries wait while it is away, and whether a request is refused when that is full too.
AUDIT_SPOOL = env_path("AUDIT_SPOOL", VAR_DIR / "audit-spool" / "entries")
AUDIT_SPOOL_MB = env_int("AUDIT_SPOOL_MB", 64, minimum=1)
AUDIT_FAIL_CLOSED = env_bool("AUDIT_FAIL_CLOSED", True)
AUDIT_BODY_LIMIT = env_int("AUDIT_BODY_LIMIT", 16_384, minimum=0)
# Below a full batch, that batch could never be sent.
AUDIT_INGEST_EVENTS_PER_MINUTE = env_int("AUDIT_INGEST_EVENTS_PER_MINUTE", 600_000, minimum=5_000)
# Redaction: the key of the tags (derived from SECRET_KEY when empty), keys that made older
# tags, and what is a secret beside the built-in rules.
AUDIT_REDACTION_KEY = env_secret("AUDIT_REDACTION_KEY", "")
AUDIT_REDACTION_KEY_VERSION = env_int("AUDIT_REDACTION_KEY_VERSION", 1, minimum=1)
AUDIT_REDACTION_RETIRED_KEYS = env_secret("AUDIT_REDACTION_RETIRED_KEYS", "")
AUDIT_REDACTION_EXTRA_NAMES = env_list("AUDIT_REDACTION_EXTRA_NAMES")
AUDIT_REDACTION_EXTRA_PATTERNS = env_list("AUDIT_REDACTION_EXTRA_PATTERNS")
AUDIT_REDACTION_RULES = env_path("AUDIT_REDACTION_RULES", None)

# Secret rotation: attempts of one step before a person is asked, and how many rotations are under
# way at once.
ROTATION_ATTEMPTS = env_int("ROTATION_ATTEMPTS", 12, minimum=1)
ROTATIONS_AT_ONCE = env_int("ROTATIONS_AT_ONCE", 20, minimum=1)

# Sealed values: the ring of master keys, or the file that holds it.
COMPLIANCE_MASTER_KEY_FILE = env_path("COMPLIANCE_MASTER_KEY_FILE", None)
COMPLIANCE_MASTER_KEY = env_str("COMPLIANCE_MASTER_KEY", "")
if EMBEDDED and not (COMPLIANCE_MASTER_KEY or COMPLIANCE_MASTER_KEY_FILE):
    COMPLIANCE_MASTER_KEY_FILE = development_master_key(VAR_DIR)

# The folder below which rotations may write files of other applications; None for nowhere.
DELIVERY_FOLDER = env_path("DELIVERY_FOLDER", None)
# The folder of the programs that rotations may run; None for no such rotations.
ROTATION_HOOK_FOLDER = env_path("ROTATION_HOOK_FOLDER", None)

# Calls to addresses that users supply: the private networks that they may lead to.
OUTGOING_ALLOWED_NETWORKS = env_networks(
    "OUTGOING_ALLOWED_NETWORKS", () if PRODUCTION else ("127.0.0.0/8", "::1/128")
)

# Notices: where they go; a channel that is not configured gets none.
NOTICE_REDACTION = "audit.capture.redaction.redact_text"
NOTICE_EMAIL_TO = env_list("NOTICE_EMAIL_TO")
NOTICE_WEBHOOK_URL = env_secret("NOTICE_WEBHOOK_URL", "")
NOTICE_WEBHOOK_SECRET = env_secret("NOTICE_WEBHOOK_SECRET", "")
NOTICE_APPRISE_URLS = env_secret("NOTICE_APPRISE_URLS", "").split()
NOTICE_RETRY_DAYS = env_int("NOTICE_RETRY_DAYS", 3, minimum=1)
EMAIL_HOST = env_str("EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("EMAIL_PORT", 25, minimum=1)
EMAIL_HOST_USER = env_str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env_secret("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env_str("DEFAULT_FROM_EMAIL", "compliance-console@localhost")

# Backups: where they are kept (folders and s3://bucket/prefix, several at once), what is backed
# up beside the console's own database (name=url, separated by blanks), and for how long.
ENABLE_AUTOMATED_BACKUPS = env_bool("ENABLE_AUTOMATED_BACKUPS", True)
BACKUP_STORAGE_PATH = env_list("BACKUP_STORAGE_PATH", (str(VAR_DIR / "backups"),))
BACKUP_S3_ENDPOINT_URL = env_str("BACKUP_S3_ENDPOINT_URL", "")
BACKUP_DATABASES = env_secret("BACKUP_DATABASES", "")
# Their names, for processes that have to know no more of them.
BACKUP_DATABASE_NAMES = env_list("BACKUP_DATABASE_NAMES")
BACKUP_RETENTION_DAYS = env_int("BACKUP_RETENTION_DAYS", 30, minimum=1)
BACKUP_KEEP_WEEKLY = env_int("BACKUP_KEEP_WEEKLY", 8, minimum=0)
BACKUP_KEEP_MONTHLY = env_int("BACKUP_KEEP_MONTHLY", 12, minimum=0)
# age keys: whom backups are encrypted for beside the console itself (escrow), and its own key.
BACKUP_RECIPIENTS = env_list("BACKUP_RECIPIENTS")
BACKUP_IDENTITY = env_secret("BACKUP_IDENTITY", "")
if EMBEDDED and not BACKUP_IDENTITY:
    BACKUP_IDENTITY = development_backup_identity(VAR_DIR)
# What a dump, a restore and their states are written to meanwhile; no restored database holds it.
RECOVERY_FOLDER = env_path("RECOVERY_FOLDER", VAR_DIR / "recovery")
# Folders of PostgreSQL's programs, before those of the system.
POSTGRESQL_PROGRAMS = env_list("POSTGRESQL_PROGRAMS")
# Where write-ahead log is archived as it is written; None for no point-in-time recovery.
WAL_ARCHIVE_PATH = env_path("WAL_ARCHIVE_PATH", None)
# Who makes base backups and archives the log: PostgreSQL's own programs, or pgBackRest as it is
# set up at the site.
RECOVERY_ENGINE = env_choice("RECOVERY_ENGINE", ("builtin", "pgbackrest"), "builtin")
PGBACKREST_CONFIG = env_path("PGBACKREST_CONFIG", None)
PGBACKREST_STANZA = env_str("PGBACKREST_STANZA", "")

# Error reports and, with DEBUG on, error pages
DEFAULT_EXCEPTION_REPORTER_FILTER = "compliance_site.foundation.error_reports.NoVariables"

# Logs
LOGGING = logging_config(
    level=env_str("LOG_LEVEL", "INFO"),
    directory=env_path("LOG_DIR", None),
    process=env_str("LOG_PROCESS", "console"),
    formatter="audit.capture.redaction.log_lines.RedactingFormatter",
)
