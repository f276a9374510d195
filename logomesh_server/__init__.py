"""Wiring: settings, addresses, the web front, embedded services, health. No rules of the domain live here."""
