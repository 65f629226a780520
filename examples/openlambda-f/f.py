"""Factors a number into primes, in the form of an OpenLambda function: f(event)."""


def f(event):
    n = rest = int(event["n"])
    if n < 1:
        raise ValueError(f"n has to be at least 1, not {n}")
    factors, candidate = [], 2
    while candidate * candidate <= rest:
        while rest % candidate == 0:
            factors.append(candidate)
            rest //= candidate
        candidate += 1
    if rest > 1:
        factors.append(rest)
    return {"n": n, "factors": factors, "prime": factors == [n]}
