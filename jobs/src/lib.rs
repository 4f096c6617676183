//! What should run where: job model, job files, state tables, scheduler, controllers.
