package httpapi

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds what clients can use up. Sizes are bytes.
type Config struct {
	// MaxBodyBytes is the largest request body; a larger one is 413.
	MaxBodyBytes int `yaml:"max_body_bytes"`
	// MaxRestoreBytes is the same for a backup that is to be restored.
	MaxRestoreBytes int `yaml:"max_restore_bytes"`
	// MaxHeaderBytes bounds request line and headers together; more is 431. It
	// is also the size of each connection's read buffer.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// ReadTimeout is for reading one whole request, from its first byte.
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// WriteTimeout is for writing one response, or one chunk of a long list.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// IdleTimeout closes a connection that sends no further request.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// MaxConns is how many connections are served at once.
	MaxConns int `yaml:"max_conns"`
	// MaxConnsPerIP is the same for one client address; 0 is no limit.
	MaxConnsPerIP int `yaml:"max_conns_per_ip"`
	// MaxInFlight is how many requests are handled at once; more are 503.
	MaxInFlight int `yaml:"max_in_flight"`
	// RequestTimeout is how long a read or a write may wait for the store.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxWait caps ?wait=.
	MaxWait time.Duration `yaml:"max_wait"`
	// MaxWaiters is how many requests wait with ?wait= at once. Further ones are
	// answered at once with what is known. Less than MaxInFlight, so that waiting
	// clients cannot take every place.
	MaxWaiters int `yaml:"max_waiters"`
	// DefaultPage is how many items a list without ?limit returns; 0 is all.
	DefaultPage int `yaml:"default_page"`
	// MaxPage caps ?limit=.
	MaxPage int `yaml:"max_page"`
	// ListChunkBytes is how much of a list is held in memory at once. A list
	// that fits is a consistent view of one index; a longer one is read and sent
	// chunk by chunk.
	ListChunkBytes int `yaml:"list_chunk_bytes"`
	// MaxWatchers is how many watch streams are served at once; more are 503.
	MaxWatchers int `yaml:"max_watchers"`
	// WatchHeartbeat is how often a silent watch stream tells its index.
	WatchHeartbeat time.Duration `yaml:"watch_heartbeat"`
	// WatchWriteTimeout cuts a watch stream whose client does not read.
	WatchWriteTimeout time.Duration `yaml:"watch_write_timeout"`
	// DeleteCascade is what deleting a package does where ?cascade= does not say.
	DeleteCascade bool `yaml:"delete_cascade"`
	// CORSAllowOrigin is sent as Access-Control-Allow-Origin; empty turns the
	// CORS headers off.
	CORSAllowOrigin string `yaml:"cors_allow_origin"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxBodyBytes:      8 << 20,
		MaxRestoreBytes:   256 << 20,
		MaxHeaderBytes:    16 << 10,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxConns:          4096,
		MaxConnsPerIP:     1024,
		MaxInFlight:       2048,
		RequestTimeout:    10 * time.Second,
		MaxWait:           5 * time.Minute,
		MaxWaiters:        512,
		DefaultPage:       0,
		MaxPage:           1000,
		ListChunkBytes:    4 << 20,
		MaxWatchers:       1024,
		WatchHeartbeat:    15 * time.Second,
		WatchWriteTimeout: 10 * time.Second,
		CORSAllowOrigin:   "*",
	}
}

// Validate returns all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	atLeast := func(name string, value, least int) {
		if value < least {
			errs = append(errs, fmt.Errorf("%s is %d, must be at least %d", name, value, least))
		}
	}
	positive := func(name string, value time.Duration) {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s, must be positive", name, value))
		}
	}
	atLeast("max_body_bytes", c.MaxBodyBytes, 1)
	atLeast("max_header_bytes", c.MaxHeaderBytes, 1<<10)
	positive("read_timeout", c.ReadTimeout)
	positive("write_timeout", c.WriteTimeout)
	positive("idle_timeout", c.IdleTimeout)
	atLeast("max_conns", c.MaxConns, 1)
	atLeast("max_conns_per_ip", c.MaxConnsPerIP, 0)
	atLeast("max_in_flight", c.MaxInFlight, 1)
	positive("request_timeout", c.RequestTimeout)
	positive("max_wait", c.MaxWait)
	atLeast("max_waiters", c.MaxWaiters, 0)
	atLeast("default_page", c.DefaultPage, 0)
	atLeast("max_page", c.MaxPage, 1)
	atLeast("list_chunk_bytes", c.ListChunkBytes, 1)
	atLeast("max_watchers", c.MaxWatchers, 0)
	positive("watch_heartbeat", c.WatchHeartbeat)
	positive("watch_write_timeout", c.WatchWriteTimeout)
	for _, b := range []byte(c.CORSAllowOrigin) {
		if b <= ' ' || b > '~' {
			errs = append(errs, errors.New("cors_allow_origin must be visible ASCII"))
			break
		}
	}
	if c.MaxWaiters >= c.MaxInFlight {
		errs = append(errs, errors.New("max_waiters must be below max_in_flight"))
	}
	if c.DefaultPage > c.MaxPage {
		errs = append(errs, errors.New("default_page is above max_page"))
	}
	return errors.Join(errs...)
}
