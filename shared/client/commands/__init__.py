"""What people type: `tinyurl login`, `links`, `shorten`, `import` and `export`, against any instance."""
