"""What is known of customers and of what they did before: a plain Feast repository.

`glue run` writes the tables that the sources read: `customers` as it comes, `transaction_features` by `features.build`.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)

customer_features = FeatureView(
    name="customer_features",
    entities=[customer],
    ttl=timedelta(0),  # what a customer told last holds until told otherwise
    schema=[Field(name="age", dtype=Int64), Field(name="income", dtype=Float64)],
    source=FileSource(
        name="customers",
        path="../artifacts/ingest/customers.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",  # a change that is recorded late is not known before
    ),
)

transaction_features = FeatureView(
    name="transaction_features",
    entities=[customer],
    ttl=timedelta(0),  # how the customer stood after the last transaction holds until the next
    schema=[
        Field(name="transaction_count_7d", dtype=Int64),
        Field(name="average_transaction_amount_30d", dtype=Float64),
    ],
    source=FileSource(
        name="transaction_features",
        path="../artifacts/featurize/tables/transaction_features.parquet",
        timestamp_field="event_timestamp",
    ),
)

fraud_detection = FeatureService(name="fraud_detection", features=[customer_features, transaction_features])
