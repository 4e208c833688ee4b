package config

import (
	"fmt"
	"net/url"
	"time"
)

// Backup is how backups are made by schedule, and restored.
type Backup struct {
	// Interval between backups, which the leader makes; 0: none are made.
	Interval  time.Duration `yaml:"interval"`
	Retention Retention     `yaml:"retention"`
	// Directory and S3 are where backups go; one, both or none.
	Directory string `yaml:"directory"`
	S3        S3     `yaml:"s3"`
	// RestoreIfEmpty restores the newest backup when a cluster starts for the first
	// time.
	RestoreIfEmpty bool `yaml:"restore_if_empty"`
	// MaxRestoreBytes bounds a backup that is restored through the API.
	MaxRestoreBytes int `yaml:"max_restore_bytes"`
}

// Retention is which backups of this cluster stay at a destination. The newest always
// does; 0 is no bound.
type Retention struct {
	Count int           `yaml:"count"`
	Age   time.Duration `yaml:"age"`
}

// S3 is a bucket of S3-compatible storage.
type S3 struct {
	// Endpoint is a URL; https:// turns TLS on. Empty: there is none.
	Endpoint  string `yaml:"endpoint"`
	Bucket    string `yaml:"bucket"`
	Prefix    string `yaml:"prefix"`
	Region    string `yaml:"region"`
	AccessKey string `yaml:"access_key"`
	SecretKey Secret `yaml:"secret_key"`
	// SecretKeyFile holds the secret key; it is read again when it is needed.
	SecretKeyFile string `yaml:"secret_key_file"`
	// PathStyle puts the bucket into the path of URLs, not into the host.
	PathStyle bool  `yaml:"path_style"`
	TLS       S3TLS `yaml:"tls"`
}

// S3TLS is whom to trust. A file may leave out _path.
type S3TLS struct {
	CACertPath string `yaml:"ca_cert_path"`
	Insecure   bool   `yaml:"insecure"`
}

// DefaultBackup makes none.
func DefaultBackup() Backup {
	return Backup{
		Retention:       Retention{Count: 30},
		S3:              S3{Region: "us-east-1", Prefix: "oprc-pm"},
		MaxRestoreBytes: 256 << 20,
	}
}

// leastBackupInterval is the shortest time between two backups.
const leastBackupInterval = time.Minute

func (v *validator) backup(b Backup) {
	v.check(b.Interval == 0 || b.Interval >= leastBackupInterval, "backup.interval", "must be 0 or at least %v, is %v", leastBackupInterval, b.Interval)
	v.check(b.Retention.Count >= 0, "backup.retention.count", "must not be negative, is %d", b.Retention.Count)
	v.check(b.Retention.Age >= 0, "backup.retention.age", "must not be negative, is %v", b.Retention.Age)
	v.check(b.MaxRestoreBytes >= 1<<20, "backup.max_restore_bytes", "must be at least %d, is %d", 1<<20, b.MaxRestoreBytes)
	somewhere := b.Directory != "" || b.S3.Endpoint != ""
	v.check(somewhere || b.Interval == 0, "backup.directory", "must be given, or backup.s3, when backup.interval is")
	v.check(somewhere || !b.RestoreIfEmpty, "backup.directory", "must be given, or backup.s3, when backup.restore_if_empty is")
	if b.S3.Endpoint != "" {
		v.s3(b.S3)
	}
}

func (v *validator) s3(s S3) {
	v.wrap("backup.s3.endpoint", checkEndpoint(s.Endpoint))
	v.check(s.Bucket != "", "backup.s3.bucket", "must be given")
	v.check(s.SecretKey == "" || s.SecretKeyFile == "", "backup.s3.secret_key_file", "must not be given together with secret_key")
	v.check((s.AccessKey == "") == (s.SecretKey == "" && s.SecretKeyFile == ""), "backup.s3.access_key", "access key and secret key belong together, one of them is missing")
}

func checkEndpoint(text string) error {
	if err := checkURL(text); err != nil {
		return err
	}
	if u, err := url.Parse(text); err != nil || (u.Path != "" && u.Path != "/") {
		return fmt.Errorf("must hold no path; use bucket and prefix")
	}
	return nil
}
