"""A package, for once, so that its servers and its browser end with it: fixtures of the scope "package" need one."""
