from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("lifespan_app", "0004_search")]

    operations = [
        migrations.AddField(
            "lifespanstep", "cause", models.TextField("cause", blank=True, db_default="", default="")
        ),
        migrations.AddField(
            "lifespanstep", "action", models.TextField("what to do", blank=True, db_default="", default="")
        ),
    ]
