"""Django's settings, made from the environment (see env.py). Nothing here is secret or of one place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sync.core.limits import MAX_RECORD_BYTES

from . import env
from .database import profile
from .folder import Places
from .theme import UNFOLD as UNFOLD  # how the admin looks
from .version import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.data_dir()
PLACES = Places.of(DATA_DIR)
UPLOADS_DIR = DATA_DIR / "uploads"

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.secret_key(DATA_DIR)
HTTPS = env.flag("LOGOMESH_HTTPS")  # reached through a proxy that ends TLS
PUBLIC_URL = env.text("LOGOMESH_URL").rstrip("/")  # as people write it in the browser; for links in mails
METRICS_TOKEN = env.text("LOGOMESH_METRICS_TOKEN")

# This machine's own names are always among them, for health checks.
ALLOWED_HOSTS = [*env.listing("ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.listing("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "logomesh_server.apps.Wiring",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "guardian",
    "rest_framework",
    "drf_spectacular",
    "workspaces",
    "sync",
    "migration",
]

MIDDLEWARE = [
    "logomesh_server.middleware.RequestIds",
    "logomesh_server.middleware.Problems",
    "logomesh_server.middleware.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "logomesh_server.middleware.Sessions",
    "logomesh_server.middleware.Languages",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "logomesh_server.middleware.SignedIn",
    "logomesh_server.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "logomesh_server.urls"
WSGI_APPLICATION = "logomesh_server.asgi.wsgi"
ASGI_APPLICATION = "logomesh_server.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The data. Where nobody names a database, the embedded PostgreSQL serves, on a socket in the data folder.
WEB_THREADS = env.number("WEB_THREADS", 8, least=1, most=64)
DATABASE_CHOSEN = profile.chosen(DATA_DIR)
EMBEDDED_DATABASE = DATABASE_CHOSEN is None
DATABASE = DATABASE_CHOSEN or profile.from_url(PLACES.database_url)
DATABASE_SCHEMA = list(DATABASE.schema)
BEHIND_POOLER = env.choice("LOGOMESH_DB_POOLER", ("", "session", "transaction")) == "transaction"
DATABASE_HABITS = profile.Habits(
    connections=2 * WEB_THREADS + 2,  # a thread that passes a large body on holds a second one for a moment
    pooled_by_transaction=BEHIND_POOLER,
    pool=env.flag("LOGOMESH_DB_POOL", default=True),
    prepared=env.flag("LOGOMESH_DB_PREPARED", default=not BEHIND_POOLER),
    statement_seconds=env.number("LOGOMESH_DB_STATEMENT_SECONDS", 300),
    lock_seconds=env.number("LOGOMESH_DB_LOCK_SECONDS", 30),
    idle_in_transaction_seconds=env.number("LOGOMESH_DB_IDLE_SECONDS", 60),
)
DATABASES: dict[str, dict[str, Any]] = {"default": profile.django(DATABASE, DATABASE_HABITS)}
if (REPLICA := profile.replica(DATABASE)) is not None:
    DATABASES["replica"] = profile.django(REPLICA, replace(DATABASE_HABITS, connections=WEB_THREADS)) | {
        "TEST": {"MIRROR": "default"}
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis wakes and remembers; it never holds the truth.
EMBEDDED_REDIS = not env.text("REDIS_URL")
REDIS_URL = env.text("REDIS_URL") or PLACES.redis_url
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "logomesh",
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 5},
    }
}

# Work in the background. Redis is only the alarm clock: a job's truth is its row in PostgreSQL, so every
# task may run twice and none may matter if it is lost.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 2,
    "global_keyprefix": "logomesh:",
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "forget": {"task": "sync.forget", "schedule": 24 * 3600},
    "wake orphaned imports": {"task": "migration.wake_orphans", "schedule": 10},
    "forget abandoned uploads": {"task": "migration.expire_uploads", "schedule": 3600},
    "weigh spaces": {"task": "sync.weigh_spaces", "schedule": 900, "options": {"expires": 900}},
    "index spaces": {"task": "sync.index_spaces", "schedule": 5, "options": {"expires": 5}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")

# How long deletions are remembered, and what was written before (0: for ever).
TOMBSTONE_DAYS = env.number("LOGOMESH_TOMBSTONE_DAYS", 180, least=1, most=36_500)
HISTORY_DAYS = env.number("LOGOMESH_HISTORY_DAYS", 0, most=36_500)

# People
AUTH_USER_MODEL = "workspaces.Person"
AUTHENTICATION_BACKENDS = ["workspaces.signing_in.PasswordBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
CSRF_FAILURE_VIEW = "logomesh_server.rendering.csrf_failure"
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
# Guardian only lends its permission models: workspaces.access decides, never guardian's leaking defaults.
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
# files.E001: the folder for incoming bodies is made where the web starts, not for every command.
# security.W021: whether a department's name goes into the browsers' own lists is not ours to say.
SILENCED_SYSTEM_CHECKS = ["guardian.W001", "files.E001", "security.W021"]

# What browsers are told
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
# Scripts, styles and pictures come from here and nowhere else, and nothing is inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The admin's theme runs on Alpine.js, which evaluates expressions in attributes.
CONTENT_SECURITY_POLICY_ADMIN = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)

# What one request may cost a web process (intake.Limits says what each figure means).
MAX_UPLOAD_BYTES = env.number("MAX_UPLOAD_BYTES", 20 * 1024**3, most=2**62)
INTAKE: dict[str, Any] = {
    "body_bytes": 1024**2,
    "large_bodies": {
        r"^/api/v1/spaces/[^/]+/changes(/fetch)?$": MAX_RECORD_BYTES + 1024**2,
        r"^/api/v1/(uploads|imports)(/|$)": MAX_UPLOAD_BYTES,
        r"^/(spaces/[^/]+/)?imports?(/|$)": MAX_UPLOAD_BYTES,
    },
    "memory_bytes": 2 * 1024**2,
    "spool": DATA_DIR / "incoming",
    "grace_seconds": 10,
    "bytes_a_second": 4 * 1024,
    "threads": WEB_THREADS,
    "streams": WEB_THREADS,
    "waiting": 256,
    "queue_seconds": 20,
    "send_seconds": 60,
}
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # intake.py has already measured the body
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024**2
FILE_UPLOAD_TEMP_DIR = str(INTAKE["spool"])
FILE_UPLOAD_PERMISSIONS = 0o600

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "logomesh_server.rendering.answer_exception",
    "UNAUTHENTICATED_USER": None,
    "STRICT_JSON": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "LogoMesh Server",
    "DESCRIPTION": "Sync, sharing and migration of LogoMesh spaces. Errors are application/problem+json.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "logomesh_server.openapi.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "SpaceKind": ["private", "shared"],
        "SpaceRole": ["viewer", "editor", "owner"],
        "WorkspaceRole": ["manager", "member", "guest"],
        "FeedType": "sync.shapes._TYPES",
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = env.text("STATIC_ROOT") or str(DATA_DIR / "static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
MEDIA_ROOT = str(UPLOADS_DIR)

for name, value in env.mail(env.text("EMAIL_URL")).items():
    globals()[name] = value

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request": {"()": "logomesh_server.logs.AddRequestId"}},
    "formatters": {
        "json": {"()": "logomesh_server.logs.JsonLines"},
        "plain": {"()": "logomesh_server.logs.Plain"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["request"],
            "formatter": "plain" if DEBUG else "json",
        }
    },
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "INFO").upper()},
    "loggers": {
        # Client errors are answered, not news; unexpected exceptions are logged in rendering.py.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "psycopg.pool": {"level": "ERROR"},
        "celery.app.trace": {"level": "WARNING"},
        # The worker's own option, which quiets Celery, would quiet us, too.
        "logomesh_server": {"level": env.text("LOG_LEVEL", "INFO").upper()},
    },
}
