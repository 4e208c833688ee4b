package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage/backup"
)

const (
	// snapshotStall is how long a server may be silent while it sends a backup.
	snapshotStall = 2 * time.Minute
	// restoreWait is how long a restore may take.
	restoreWait = 15 * time.Minute
)

func (p *program) snapshotCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "snapshot",
		Short: "Back the whole state up, and restore it",
		Example: `  oprc-pm cluster snapshot save monday.backup
  oprc-pm cluster snapshot restore monday.backup --force`,
	})
	cmd.AddCommand(p.snapshotSaveCommand(), p.snapshotRestoreCommand(), p.snapshotInspectCommand(),
		p.snapshotListCommand(), p.snapshotRunCommand())
	return cmd
}

func (p *program) snapshotSaveCommand() *cobra.Command {
	var stale bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "save [FILE]",
		Short: "Write a backup of the whole state to a file",
		Long: `Write a backup of the whole state to FILE, or to the standard output for -. Without
FILE the name tells cluster, time and index. The cluster goes on meanwhile; the
backup is of one moment. Any node will do, and any driver of storage can restore it.

FILE appears only once the backup is complete, synced and checked.`,
		Example: `  oprc-pm cluster snapshot save
  oprc-pm cluster snapshot save /backup/pm.backup
  oprc-pm cluster snapshot save - > pm.backup`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.snapshotSave(cmd.Context(), strings.Join(args, ""), stale)
		},
	})
	cmd.Flags().BoolVar(&stale, "stale", false, "take what the node that answers has, although it may be behind; works without a leader")
	return cmd
}

func (p *program) snapshotSave(ctx context.Context, file string, stale bool) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	query := url.Values{}
	if stale {
		query.Set("consistency", "stale")
	}
	response, err := c.Stream(ctx, client.Request{Method: http.MethodGet, Path: client.Resource("cluster", "snapshot"), Query: query}, snapshotStall)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // nothing is lost with it
	source := &progress{Reader: response.Body, out: p.err, now: p.now}
	if file == "-" {
		_, err := io.Copy(p.out, source)
		source.end()
		return err
	}
	if file == "" {
		file = "oprc-" + p.now().UTC().Format("20060102T150405Z") + "-" + response.Header.Get("X-Oprc-Index") + ".backup"
	}
	h, size, err := saveFile(file, source)
	source.end()
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	p.printf("saved %s: index %d, %d keys, %d bytes, content %s\n", file, h.Index, h.Keys, size, h.ContentDigest)
	return nil
}

// saveFile writes beside, syncs, checks and renames.
func saveFile(path string, source io.Reader) (h backup.Header, size int64, err error) {
	partial := path + ".partial"
	out, err := os.OpenFile(filepath.Clean(partial), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return h, 0, err
	}
	size, err = io.Copy(out, source)
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		if _, err = out.Seek(0, io.SeekStart); err == nil {
			h, err = backup.Inspect(out)
		}
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		return h, size, errors.Join(err, os.Remove(partial))
	}
	return h, size, nil
}

// progress tells of bytes as they pass, a few times a second.
type progress struct {
	io.Reader
	out  io.Writer
	now  func() time.Time
	n    int64
	next time.Time
	told bool
}

func (r *progress) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n += int64(n)
	now := r.now()
	if r.next.IsZero() {
		r.next = now.Add(time.Second)
	}
	if now.After(r.next) {
		r.next, r.told = now.Add(time.Second/2), true
		_, _ = fmt.Fprintf(r.out, "\r%.1f MiB", float64(r.n)/(1<<20))
	}
	return n, err
}

func (r *progress) end() {
	if r.told {
		_, _ = fmt.Fprintln(r.out)
	}
}

func (p *program) snapshotRestoreCommand() *cobra.Command {
	var force, yes bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the whole state by that of a backup",
		Long: `Replace the state of the whole cluster by that of the backup in FILE, at once or not
at all: packages, deployments, unit records, clusters, runtime states, revisions and
events. The cluster keeps its id. What its clusters run that the restored state does
not know is treated by the orphan policy.

A cluster that holds documents is restored only with --force; their present state is
lost, so save it first. --yes leaves out the question.`,
		Example: `  oprc-pm cluster snapshot restore pm.backup
  oprc-pm cluster snapshot restore pm.backup --force --yes`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.snapshotRestore(cmd.Context(), args[0], force, yes)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "restore although the cluster holds documents, which are lost")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (p *program) snapshotRestore(ctx context.Context, file string, force, yes bool) error {
	h, size, err := inspectFile(file)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if force && !yes {
		p.errorf("This replaces all that the cluster at %s holds by the state of cluster %s at %s (index %d, %s).\nType yes to go on: ",
			strings.Join(c.Servers(), ", "), h.ClusterID, h.CreatedAt.Format(time.RFC3339), h.Index, documentsText(h.Documents))
		var answer string
		if _, err := fmt.Fscanln(p.in, &answer); err != nil || answer != "yes" {
			return usagef("nothing was restored")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	response, err := c.Upload(ctx, client.Request{
		Method: http.MethodPost, Path: client.Resource("cluster", "snapshot"), Query: forceQuery(force),
	}, "application/vnd.oprc.backup", size, func() (io.ReadCloser, error) { return os.Open(filepath.Clean(file)) })
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	var done struct {
		Index   uint64 `json:"index"`
		Content string `json:"content_digest"`
	}
	if err := json.Unmarshal(response.Body, &done); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	p.printf("restored %s: %s, now at index %d, content %s\n", file, documentsText(h.Documents), done.Index, done.Content)
	return nil
}

func (p *program) errorf(format string, args ...any) { _, _ = fmt.Fprintf(p.err, format, args...) }

// inspectFile checks a whole backup.
func inspectFile(path string) (h backup.Header, size int64, err error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return h, 0, usagef("%v", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return h, 0, err
	}
	if h, err = backup.Inspect(file); err != nil {
		return h, 0, &exitError{exitUsage, fmt.Errorf("%s: %w", path, err)}
	}
	return h, info.Size(), nil
}

// documentsText counts documents in words.
func documentsText(documents map[string]uint64) string {
	var parts []string
	for _, kind := range []string{"package", "deployment", "unit", "cluster", "runtime_state"} {
		if n := documents[kind]; n > 0 {
			parts = append(parts, model.Counted(int(n), strings.ReplaceAll(kind, "_", " ")))
		}
	}
	if len(parts) == 0 {
		return "no documents"
	}
	return strings.Join(parts, ", ")
}

func (p *program) snapshotInspectCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Check a backup and tell what is in it",
		Long: `Check every byte of the backup in FILE and tell what is in it. No server is needed.
Exit code 2 says that it is damaged or no backup.`,
		Example: `  oprc-pm cluster snapshot inspect pm.backup
  oprc-pm cluster snapshot inspect pm.backup -o json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return p.snapshotInspect(args[0], output) },
	}
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) snapshotInspect(file, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	h, size, err := inspectFile(file)
	if err != nil {
		return err
	}
	if output == outputJSON || output == outputYAML {
		return p.printStructured(output, h)
	}
	row := func(name, value string) { p.printf("%-10s %s\n", name, value) }
	row("Created", h.CreatedAt.Format(time.RFC3339))
	row("Cluster", h.ClusterID)
	row("Made by", fmt.Sprintf("%s, release %s, storage %s", h.Node, h.Release, h.Driver))
	row("Index", strconv.FormatUint(h.Index, 10))
	row("Term", fmt.Sprintf("%d, base %d", h.Term, h.TermBase))
	row("Digest", h.Digest)
	row("Content", h.ContentDigest)
	row("Size", fmt.Sprintf("%d bytes, %d keys of %d bytes", size, h.Keys, h.Bytes))
	row("Documents", documentsText(h.Documents))
	p.printf("\n%s is whole\n", file)
	return nil
}

func (p *program) snapshotListCommand() *cobra.Command {
	var output string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "list",
		Short: "List the scheduled backups, the newest first",
		Long:  `List what is where the node at --server puts scheduled backups (backup.directory, backup.s3).`,
		Example: `  oprc-pm cluster snapshot list
  oprc-pm cluster snapshot list -o json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.snapshots(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Resource("cluster", "snapshots")}, output)
		},
	})
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) snapshotRunCommand() *cobra.Command {
	var output string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "run",
		Short: "Make a backup now, where the scheduled ones go",
		Long: `Make a backup now, through the node at --server, where the scheduled ones go, read it
back and remove old ones, as the schedule would.`,
		Example: `  oprc-pm cluster snapshot run`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.snapshots(cmd.Context(), client.Request{
				Method: http.MethodPost, Path: client.Resource("cluster", "snapshots", "run"), Wait: restoreWait, Once: true,
			}, output)
		},
	})
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) snapshots(ctx context.Context, request client.Request, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	response, err := c.Do(ctx, request)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	var list []model.StoredBackup
	if err := json.Unmarshal(response.Body, &list); err != nil {
		return fmt.Errorf("decode snapshots: %w", err)
	}
	if output == outputJSON || output == outputYAML {
		return p.printStructured(output, list)
	}
	t := table{header: []string{"NAME", "INDEX", "SIZE", "AGE", "DESTINATION"}}
	for _, b := range list {
		t.rows = append(t.rows, []string{b.Name, strconv.FormatUint(b.Index, 10), strconv.FormatInt(b.Size, 10), age(p.now(), &b.CreatedAt), b.Destination})
	}
	t.write(p.out)
	return nil
}
