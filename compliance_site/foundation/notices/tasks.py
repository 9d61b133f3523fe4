from celery import shared_task

from compliance_site.foundation.notices import sending


@shared_task(name="notices.send_waiting")
def send_waiting() -> None:
    """Send the notices that wait."""
    sending.send_waiting()
