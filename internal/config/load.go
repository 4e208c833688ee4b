package config

import (
	"errors"
	"fmt"
	"strings"
)

// Load gives the defaults, overlaid with the file's content (nil for none) and
// then with the environment, given as os.Environ gives it. name is the file's,
// for errors. The caller applies its flags and calls Validate.
func Load(name string, file []byte, environ []string) (Config, error) {
	c := DefaultConfig()
	var errs []error
	if err := c.Decode(file, lookupIn(environ)); err != nil {
		errs = append(errs, prefixed(name, err))
	}
	if err := c.ApplyEnv(environ); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// prefixed puts the file's name before every line of a joined error.
func prefixed(name string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	errs := make([]error, 0, len(joined.Unwrap()))
	for _, each := range joined.Unwrap() {
		errs = append(errs, prefixed(name, each))
	}
	return errors.Join(errs...)
}

func lookupIn(environ []string) LookupFunc {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}
