package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

func (p *program) exportCommand() *cobra.Command {
	var file, from string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "export [-f FILE]",
		Short: "Write all that people asked for as one YAML stream",
		Long: `Write clusters, packages in the order of their dependencies, deployments and runtime
states as one YAML stream: what people asked for, of one moment, without what became
of it. import takes it back, on any control plane; so does apply.

Left out are clusters of the nodes' configuration, deployments that are being deleted,
unit records, revisions and events: cluster snapshot save keeps those.`,
		Example: `  oprc-pm export > all.yaml
  oprc-pm export -f all.yaml
  oprc-pm export --from monday.backup`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.export(cmd.Context(), file, from) },
	})
	cmd.Flags().StringVarP(&file, "filename", "f", "-", "`FILE` to write, or - for standard output")
	cmd.Flags().StringVar(&from, "from", "", "read the backup in `FILE` instead of a server")
	return cmd
}

func (p *program) export(ctx context.Context, file, from string) error {
	documents, h, err := p.documents(ctx, from)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if file == "-" {
		return documents.write(p.out, h)
	}
	out, err := os.OpenFile(filepath.Clean(file), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return usagef("%v", err)
	}
	err = documents.write(out, h)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	p.printf("exported %d documents to %s\n", documents.count(), file)
	return nil
}

// documents reads all that people asked for, from a backup or a server.
func (p *program) documents(ctx context.Context, from string) (*exported, backup.Header, error) {
	if from != "" {
		file, err := os.Open(filepath.Clean(from))
		if err != nil {
			return nil, backup.Header{}, usagef("%v", err)
		}
		documents, h, err := readExported(file)
		return documents, h, errors.Join(err, file.Close())
	}
	c, err := p.client()
	if err != nil {
		return nil, backup.Header{}, err
	}
	defer c.Close()
	response, err := c.Stream(ctx, client.Request{Method: http.MethodGet, Path: client.Resource("cluster", "snapshot")}, snapshotStall)
	if err != nil {
		return nil, backup.Header{}, err
	}
	documents, h, err := readExported(response.Body)
	return documents, h, errors.Join(err, response.Body.Close())
}

// exported are the user lines of documents, as they are stored.
type exported struct {
	clusters, deployments, states []userLine
	packages                      []userLine
	// order are the packages' names and dependencies.
	order []model.Package
}

type userLine struct {
	name string
	json json.RawMessage
}

// readExported takes the documents out of a backup, which it checks.
func readExported(source io.Reader) (*exported, backup.Header, error) {
	var e exported
	h, err := backup.Read(source, func(key, value []byte) error {
		prefix, name, _ := strings.Cut(string(key), "/")
		var into *[]userLine
		switch prefix + "/" {
		case storage.ClusterPrefix:
			into = &e.clusters
		case storage.PackagePrefix:
			into = &e.packages
		case storage.DeploymentPrefix:
			into = &e.deployments
		case storage.RuntimeStatePrefix:
			into = &e.states
		default:
			return nil
		}
		_, user, err := storage.SplitDocument(value)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		line := userLine{name: name, json: json.RawMessage("{" + string(user) + "}")}
		keep, err := e.keep(into, value)
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		if keep {
			*into = append(*into, line)
		}
		return nil
	})
	if err != nil {
		return nil, h, err
	}
	return &e, h, e.sortPackages()
}

// keep leaves out what does not belong to people, or not any more.
func (e *exported) keep(into *[]userLine, document []byte) (bool, error) {
	switch into {
	case &e.clusters:
		cluster, err := model.ParseCluster(document)
		return cluster.ManagedBy != model.ManagedByConfig, err
	case &e.deployments:
		d, err := model.ParseDeployment(document)
		return d.DeletionRequestedAt == nil, err
	case &e.packages:
		pkg, err := model.ParsePackage(document)
		e.order = append(e.order, model.Package{Name: pkg.Name, Dependencies: pkg.Dependencies})
		return true, err
	default:
		return true, nil
	}
}

func (e *exported) sortPackages() error {
	ordered, err := inDependencyOrder(e.order)
	if err != nil {
		return err
	}
	lines := map[string]userLine{}
	for _, line := range e.packages {
		lines[line.name] = line
	}
	e.order, e.packages = ordered, e.packages[:0]
	for _, pkg := range ordered {
		e.packages = append(e.packages, lines[pkg.Name])
	}
	return nil
}

func (e *exported) count() int {
	return len(e.clusters) + len(e.packages) + len(e.deployments) + len(e.states)
}

func (e *exported) write(w io.Writer, h backup.Header) error {
	out := bufio.NewWriterSize(w, 1<<16)
	_, _ = fmt.Fprintf(out, "# cluster %s at index %d\n", h.ClusterID, h.Index) // the first error is kept
	each := func(lines []userLine, wrap func(json.RawMessage) any) error {
		for _, line := range lines {
			text, err := model.MarshalYAML(wrap(line.json))
			if err != nil {
				return fmt.Errorf("write %s: %w", line.name, err)
			}
			_, _ = out.WriteString(documentMark)
			_, _ = out.Write(text)
		}
		return nil
	}
	plain := func(raw json.RawMessage) any { return raw }
	err := errors.Join(each(e.clusters, plain), each(e.packages, plain), each(e.deployments, plain),
		each(e.states, func(raw json.RawMessage) any { return map[string]any{"runtime_states": []json.RawMessage{raw}} }))
	if err != nil {
		return err
	}
	return out.Flush()
}

// documentMark begins a document of a YAML stream.
const documentMark = "---\n"
