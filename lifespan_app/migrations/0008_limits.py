from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("lifespan_app", "0007_boot")]

    operations = [
        migrations.AddField(
            "lifespanstep", "required", models.BooleanField("required", blank=True, null=True)
        ),
        migrations.AddField(
            "lifespanstep", "timeout", models.FloatField("time limit", blank=True, null=True)
        ),
    ]
