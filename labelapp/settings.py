"""Settings of the whole project, one flat file read from the environment.

Transport settings derive from PUBLIC_URL; nothing here knows a campaign or a checkpoint.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from labelapp.databases.addresses import postgresql
from labelapp.env import (
    env_bool,
    env_int,
    env_list,
    env_str,
    env_word,
    running_services,
    secret_from_file,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = (BASE_DIR / env_str("LABELAPP_VAR", "var")).resolve()  # wherever a command is called from
_running = running_services(VAR)  # so that commands run by hand find what ./start runs

# --- who we are on the network -------------------------------------------------------------
DEBUG = env_bool("DEBUG", default=False)
PUBLIC_URL = env_str("PUBLIC_URL", _running.get("PUBLIC_URL", "http://127.0.0.1:8000")).rstrip("/")
_public = urlsplit(PUBLIC_URL)
if _public.scheme not in {"http", "https"} or not _public.hostname:
    raise ImproperlyConfigured(
        f"PUBLIC_URL={PUBLIC_URL!r}: write http://host[:port] or https://host"
    )
IS_HTTPS = _public.scheme == "https"
IS_LOOPBACK = _public.hostname in {"127.0.0.1", "localhost", "::1"}
if not IS_HTTPS and not IS_LOOPBACK and not env_bool("ALLOW_PLAIN_HTTP"):
    raise ImproperlyConfigured(
        f"PUBLIC_URL={PUBLIC_URL!r} sends passwords in the clear: use https, or set ALLOW_PLAIN_HTTP=true"
    )
SECRET_KEY = env_str("SECRET_KEY") or secret_from_file(VAR / "secret_key")
if len(SECRET_KEY) < 50 or SECRET_KEY.startswith("django-insecure"):
    raise ImproperlyConfigured(
        "SECRET_KEY needs at least 50 random characters; unset it to have one made"
    )
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS")
_OWN_NAMES = ["127.0.0.1", "localhost", "[::1]"] if IS_LOOPBACK else [str(_public.hostname)]
ALLOWED_HOSTS = [*_OWN_NAMES, *env_list("ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if IS_HTTPS else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
if env_bool("BEHIND_PROXY"):  # only where the proxy strips the header from clients
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_ENGINE = "labelapp.sessions"
SESSION_COOKIE_AGE = 43_200
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = False  # scripts of our own origin read it to send drafts again
CSRF_FAILURE_VIEW = "comparisons.web.error_views.csrf_failure"
PASSWORD_RESET_TIMEOUT = 3600
CONFIRM_MINUTES = env_int("CONFIRM_MINUTES", 15)  # until acts that can do harm ask who one is
if CONFIRM_MINUTES < 1:
    raise ImproperlyConfigured(f"CONFIRM_MINUTES={CONFIRM_MINUTES}: write 1 or more")
FILE_UPLOAD_PERMISSIONS = 0o640
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
DATA_UPLOAD_MAX_NUMBER_FILES = 5

# --- parts ---------------------------------------------------------------------------------
INSTALLED_APPS = [
    "labelapp",
    "training",
    "comparisons",
    "modelserving",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "comparisons.web.arrival_frame.framed_by_mturk",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "comparisons.web.middleware.SignInFirst",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "comparisons.web.middleware.private_responses",
    "comparisons.web.odd_requests.refuse_odd",
]
ROOT_URLCONF = "labelapp.urls"
ASGI_APPLICATION = "labelapp.asgi.application"
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
                "comparisons.web.context.shell",
            ],
        },
    }
]
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

# --- people --------------------------------------------------------------------------------
MTURK_HOSTS = [f"https://{name}.mturk.com" for name in ("worker", "www", "workersandbox")]
PROLIFIC_WEBHOOK_SECRETS = env_list("PROLIFIC_WEBHOOK_SECRETS")  # none: every event is refused
AUTH_USER_MODEL = "comparisons.Account"
AUTHENTICATION_BACKENDS = ["labelapp.accounts.AccountBackend"]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign_in"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")]
LOCALE_PATHS = [BASE_DIR / "labelapp" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"


# --- the database: the only source of truth ------------------------------------------------
def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "labelapp.databases.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": 60,  # the web's threads are kept, and so are their connections
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
                "PRAGMA foreign_keys=ON;PRAGMA busy_timeout=20000;"
            ),
        },
    }


DATABASE_URL = env_str("DATABASE_URL")
DATABASES = {
    "default": postgresql(DATABASE_URL) if DATABASE_URL else _sqlite(VAR / "labelapp.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- files ---------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
_has_collected = env_bool("COLLECT_STATIC") or (STATIC_ROOT / "staticfiles.json").exists()
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR / "files"},
    },
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _has_collected
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not _has_collected
ARTEFACTS = (
    BASE_DIR / env_str("ARTEFACTS", _running.get("ARTEFACTS", str(VAR)))
).resolve()  # releases/, runs/, checkpoints/: may be a shared mount
STARTER_CHECKPOINT = BASE_DIR / "modelserving" / "starter"

# --- queue: a doorbell, never the only copy of a fact ---------------------------------------
REDIS_URL = env_str("REDIS_URL", _running.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
CELERY_BROKER_URL = (
    ("redis+socket://" + REDIS_URL.removeprefix("unix://"))
    if REDIS_URL.startswith("unix://")
    else REDIS_URL
)
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "comparisons.fill_turn": {"queue": "generation"},
    "training.execute_run": {"queue": "training"},
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 30,
    "socket_connect_timeout": 2,
    "socket_keepalive": not REDIS_URL.startswith("unix://"),
    "health_check_interval": 25,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "labelapp:",
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "labelapp.beat:Unfiled"
CELERY_BEAT_SCHEDULE = {
    "reconcile-turns": {
        "task": "comparisons.reconcile_turns",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "warm-servers": {
        "task": "comparisons.warm_servers",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "reconcile-releases": {
        "task": "comparisons.reconcile_releases",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "end-leases": {
        "task": "comparisons.end_leases",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "reconcile-runs": {
        "task": "training.reconcile_runs",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "advance-iterations": {
        "task": "training.advance_iterations",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
}

# --- the model server ----------------------------------------------------------------------
MODELSERVER_URLS = env_list(
    "MODELSERVER_URLS", _running.get("MODELSERVER_URLS", "http://127.0.0.1:8100")
)  # http://host:port or unix:///path.sock
MODELSERVER_SECRET = env_str("MODELSERVER_SECRET") or secret_from_file(VAR / "modelserver_secret")
ALLOWED_ENDPOINTS = env_list(
    "ALLOWED_ENDPOINTS"
)  # scheme://host[:port] of outside model endpoints that deployments may name

# --- the API -------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "comparisons.api.authentication.HashedTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["comparisons.api.permissions.IsResearcher"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["comparisons.api.parsing.ShallowJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "comparisons.api.pagination.Newest",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "labelapp API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "CheckpointKind": "modelserving.models.Checkpoint.Kind",
        "RunKind": "training.models.TrainingRun.Kind",
    },
}

# --- logs ----------------------------------------------------------------------------------
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")  # what logging and uvicorn both know
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": "labelapp.log_lines.SecretsCut",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env_word("LOG_LEVEL", "INFO", LOG_LEVELS)},
    "loggers": {name: {"level": "ERROR"} for name in ("httpx", "httpcore", "django.request")},
}
