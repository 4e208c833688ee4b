package main

import (
	"io"
	"log/slog"

	"github.com/oprc/oprc-pm/internal/config"
)

// newLogger makes the logger that the configuration asks for.
func newLogger(w io.Writer, o config.Observability) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return nil, usagef("log level %q is not debug, info, warn or error", o.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	if o.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
