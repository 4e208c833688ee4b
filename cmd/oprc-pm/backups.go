package main

import (
	"fmt"
	"log/slog"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/internal/backups"
	"github.com/oprc/oprc-pm/internal/config"
)

// newBackups makes what backs this node's store up.
func newBackups(cfg config.Config, b *backend, logger *slog.Logger, set *metrics.Set) (*backups.Manager, error) {
	var destinations []backups.Destination
	if cfg.Backup.Directory != "" {
		destinations = append(destinations, backups.NewDirectory(cfg.Backup.Directory))
	}
	if s3 := cfg.Backup.S3; s3.Endpoint != "" {
		d, err := backups.NewS3(backups.S3{
			Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
			AccessKey: s3.AccessKey, SecretKey: s3.SecretKey.Reveal(), SecretKeyFile: s3.SecretKeyFile,
			PathStyle: s3.PathStyle, CACertPath: s3.TLS.CACertPath, Insecure: s3.TLS.Insecure,
		})
		if err != nil {
			return nil, fmt.Errorf("backup.s3: %w", err)
		}
		destinations = append(destinations, d)
	}
	return backups.New(backups.Config{
		Interval: cfg.Backup.Interval, Count: cfg.Backup.Retention.Count, Age: cfg.Backup.Retention.Age,
		RestoreIfEmpty: cfg.Backup.RestoreIfEmpty,
		Node:           cfg.Cluster.NodeName, Release: version(), Driver: string(cfg.Storage.Type), TempDir: b.tempDir,
	}, backups.Deps{
		Store: b.store, Destinations: destinations, Logger: logger.With("component", "backup"), Metrics: set,
	}), nil
}
