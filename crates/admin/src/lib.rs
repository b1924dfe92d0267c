//! Administration: commands, local socket, metrics page.
