//! What is running, is it well, who may talk to whom: catalog, health, splitting.
