//! The deterministic simulation: core machines and a broker cluster in virtual time.
