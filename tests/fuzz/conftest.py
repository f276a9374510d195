"""`--hypothesis-profile=long`: what `make fuzz-api` uses."""

from hypothesis import settings

settings.register_profile("long", max_examples=2000)
