"""SQL, one module per group of tables. Every public function takes a connection and a scope first."""
