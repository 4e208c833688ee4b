// Package config holds the settings of a node: their types, their defaults,
// where they come from and whether they make sense together.
//
// Sources, the strongest first: flags (applied by cmd), environment variables,
// a YAML file, defaults. The file is strict: a key that nobody reads is an
// error with its line, because a misspelt setting is one that silently does not
// hold. ${VAR} and ${VAR:-default} are expanded in the file's values, after
// parsing, so that a variable's content can never change the file's structure.
//
// The package reads no environment and opens no file unless its caller hands
// them in, starts no goroutine and holds no lock. It imports nothing of this
// project: cmd translates a Config into what each package wants. Secrets are of
// type Secret and cannot be printed, logged or marshalled by accident.
package config
