"""The features of this project, in plain Feast: `glue run` writes the tables that the sources read."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Bool, Float64, Int64, String, UnixTimestamp  # noqa: F401

{% for entity in entities %}
{{ entity.variable }} = Entity(name={{ entity.key | py }}, join_keys=[{{ entity.key | py }}], value_type=ValueType.{{ entity.type }})
{% endfor %}
{% for view in views %}

{{ view.name }} = FeatureView(
    name={{ view.name | py }},
    entities=[{{ view.entities | join(', ') }}],
    ttl=timedelta(days={{ view.ttl_days }}),  # {{ view.ttl_reason }}
    schema=[
{% for name, dtype in view.fields %}
        Field(name={{ name | py }}, dtype={{ dtype }}),
{% endfor %}
    ],
    source=FileSource(
        name={{ view.name | py }},
        path={{ view.path | py }},
        timestamp_field={{ view.timestamp | py }},
{% if view.created %}
        created_timestamp_column={{ view.created | py }},  # when the row became known
{% endif %}
    ),
)
{% endfor %}
