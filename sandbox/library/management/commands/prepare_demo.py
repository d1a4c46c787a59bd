from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

ADMIN = "admin"


class Command(BaseCommand):
    help = (
        "Migrate the database, make the admin user or give it a new password, and print how to "
        "log in."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        password = secrets.token_urlsafe(9)
        self._set_password(password)
        for label, value in (
            ("Front page", settings.SITE_URL),
            ("Admin", f"{settings.SITE_URL}admin/"),
            ("Name", ADMIN),
            ("Password", password),
        ):
            self.stdout.write(f"{label + ':':<12}{self.style.SUCCESS(value)}")
        self.stdout.write("Ctrl+C closes everything and ends.")

    def _set_password(self, password: str) -> None:
        # What is printed must be true, and a password that is kept can't be read back.
        admin, _ = User.objects.get_or_create(username=ADMIN)
        admin.is_active = admin.is_staff = admin.is_superuser = True
        admin.set_password(password)
        admin.save()
