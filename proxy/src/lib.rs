//! Routes and traffic.
