"""The features of this project: raw tables in, feature tables out. `features.transform` in glue.yaml names `build`."""

import pandas as pd


def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What each customer did before each transaction; the windows end before it, so that it does not count itself."""
    events = tables["transactions"].sort_values(["customer_id", "event_timestamp"], kind="stable")
    events = events.drop_duplicates(["customer_id", "event_timestamp"])  # at one moment nothing is known of the other
    amounts = events.set_index("event_timestamp").groupby("customer_id")["amount"]
    made = events[["customer_id", "event_timestamp"]].assign(
        transaction_count_7d=amounts.rolling("7D", closed="left").count().fillna(0).astype("int64").to_numpy(),
        average_transaction_amount_30d=amounts.rolling("30D", closed="left").mean().to_numpy(),
    )
    return {"transaction_features": made}
