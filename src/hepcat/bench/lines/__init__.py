"""The measurements, a module each: NAME and measure(context). hepcat.bench.measure.LINES orders them."""
