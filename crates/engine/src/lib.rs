//! Directory, router, pipeline and the module interface.
