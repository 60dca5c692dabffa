"""The features of this project: raw tables in, feature tables out. `features.transform` in glue.yaml names `build`."""

import pandas as pd

AFTER = pd.Timedelta(1, "us")  # a transaction is known just after its time; its own request comes exactly at its time


def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Compute each customer's features right after each transaction; they are served until the next transaction."""
    events = tables["transactions"].sort_values(["customer_id", "event_timestamp"], kind="stable")
    amounts = events.set_index("event_timestamp").groupby("customer_id")["amount"]
    made = events[["customer_id"]].assign(
        event_timestamp=events["event_timestamp"] + AFTER,
        transaction_count_7d=amounts.rolling("7D").count().astype("int64").to_numpy(),
        average_transaction_amount_30d=amounts.rolling("30D").mean().to_numpy(),
    )
    made = made.drop_duplicates(["customer_id", "event_timestamp"], keep="last")  # of equal times: the last one
    return {"transaction_features": made}
