from tests.recovery.shop import (  # noqa: F401  fixtures
    admin_url,
    backup,
    backups_folder,
    busy,
    run_sql,
    shop,
)
