"""Takes {"readings": [{"time", "kwh"}, …]}: sums them up by day, and finds the hours that are far from what their hour usually is."""

import pandas


def handler(event, context):
    frame = pandas.DataFrame(event["readings"])
    frame["time"] = pandas.to_datetime(frame["time"])
    days = frame.groupby(frame["time"].dt.date)["kwh"].agg(["sum", "max", "idxmax"])
    usual = frame.groupby(frame["time"].dt.hour)["kwh"]
    # The middle and the spread by medians: one odd reading does not move them.
    middle = usual.transform("median")
    spread = (frame["kwh"] - middle).abs().groupby(frame["time"].dt.hour).transform("median").clip(lower=0.05)
    odd = frame[(frame["kwh"] - middle).abs() / spread > 8]
    return {
        "days": [
            {"day": str(day), "kwh": round(float(row["sum"]), 2), "peak": frame["time"][row["idxmax"]].strftime("%H:%M")}
            for day, row in days.iterrows()
        ],
        "odd": [{"time": t.strftime("%Y-%m-%d %H:%M"), "kwh": k} for t, k in zip(odd["time"], odd["kwh"])],
    }
