from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("lifespan_app", "0006_alerts")]

    operations = [
        migrations.AddField(
            "lifespanrun",
            "boot",
            models.JSONField("before the hooks", db_default={}, blank=True, default=dict),
        ),
    ]
