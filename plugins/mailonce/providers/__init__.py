"""Who carries the mail: one small interface (:mod:`mailonce.providers.base`), one file a provider."""
