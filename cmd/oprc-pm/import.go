package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (p *program) importCommand() *cobra.Command {
	var file string
	var prune bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "import -f FILE",
		Short: "Store all that an export holds",
		Long: `Store what export wrote: clusters, packages, deployments and runtime states, as they
were, pauses and cordons too. Everything is checked before anything is sent; what is
as described already stays unchanged, so an import that was broken off can be repeated.

With --prune, what the stream does not describe is deleted afterwards: deployments,
packages and clusters that the API manages. Runtime states stay.`,
		Example: `  oprc-pm import -f all.yaml
  oprc-pm export --server http://old:8080 | oprc-pm import --server http://new:8080 -f -
  oprc-pm import -f all.yaml --prune`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.importAll(cmd.Context(), file, prune) },
	})
	cmd.Flags().StringVarP(&file, "filename", "f", "", "`FILE` that export wrote, or - for standard input")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what the stream does not describe")
	return cmd
}

func (p *program) importAll(ctx context.Context, file string, prune bool) error {
	set, err := p.loadStream(file)
	if err != nil {
		return err
	}
	set.force = true
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := p.applyManifests(ctx, c, set); err != nil || !prune {
		return err
	}
	return p.prune(ctx, c, set)
}

// loadStream reads a stream of any length, some documents at a time.
func (p *program) loadStream(file string) (manifests, error) {
	if file == "" {
		return manifests{}, usagef("-f FILE is missing; - reads standard input")
	}
	source := p.in
	if file != "-" {
		in, err := os.Open(filepath.Clean(file))
		if err != nil {
			return manifests{}, usagef("%v", err)
		}
		defer func() { _ = in.Close() }() // only read
		source = in
	}
	var set manifests
	var problems []model.Problem
	err := eachChunk(source, func(first int, data []byte) {
		found, err := model.DecodeManifests(data, model.YAML)
		problems = append(problems, inFile(fmt.Sprintf("%s from document %d", fileName(file), first), err)...)
		for _, m := range found {
			problems = append(problems, p.unknownFields(file, m, true)...)
			set.add(m)
		}
	})
	if err != nil {
		return manifests{}, fmt.Errorf("read %s: %w", fileName(file), err)
	}
	problems = append(problems, set.duplicates()...)
	if err := model.Invalid(problems); err != nil {
		return manifests{}, err
	}
	if set.empty() {
		return manifests{}, usagef("%s: there are no documents in it", fileName(file))
	}
	set.packages, err = inDependencyOrder(set.packages)
	return set, err
}

// chunkDocuments is how many documents are decoded at once.
const chunkDocuments = 500

// eachChunk cuts a stream at marks of documents. first counts documents from 1.
func eachChunk(source io.Reader, fn func(first int, data []byte)) error {
	in := bufio.NewReaderSize(source, 1<<16)
	var chunk bytes.Buffer
	first, documents := 1, 0
	flush := func() {
		if len(bytes.TrimSpace(chunk.Bytes())) > 0 {
			fn(first, chunk.Bytes())
		}
		first, documents = first+documents, 0
		chunk.Reset()
	}
	for {
		line, err := in.ReadBytes('\n')
		if string(bytes.TrimRight(line, "\r\n")) == "---" {
			if documents++; documents > chunkDocuments {
				documents--
				flush()
				documents = 1
			}
		}
		chunk.Write(line)
		if chunk.Len() > maxManifestBytes {
			return usagef("%d documents hold more than %d MiB", documents, maxManifestBytes>>20)
		}
		if errors.Is(err, io.EOF) {
			flush()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// prune deletes what set does not describe, what needs others before them.
func (p *program) prune(ctx context.Context, c *client.Client, set manifests) error {
	wanted := map[string]bool{}
	set.each(func(name string) { wanted[name] = true })
	present, _, err := p.documents(ctx, "")
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	remove := func(kind, name string, do func() (client.WriteResult, error)) error {
		if wanted[kind+"/"+name] {
			return nil
		}
		_, err := do()
		if err != nil && !client.NotFound(err) {
			return fmt.Errorf("prune %s/%s: %w", kind, name, err)
		}
		if err == nil {
			p.printf("%s/%s deleted\n", kind, name)
		}
		return nil
	}
	for _, d := range present.deployments {
		if err := remove("deployment", d.name, func() (client.WriteResult, error) {
			return c.DeleteDeployment(ctx, d.name, client.WriteOptions{})
		}); err != nil {
			return err
		}
	}
	for _, pkg := range slices.Backward(present.packages) {
		if err := remove("package", pkg.name, func() (client.WriteResult, error) {
			return c.DeletePackage(ctx, pkg.name, client.WriteOptions{Cascade: true})
		}); err != nil {
			return err
		}
	}
	for _, cluster := range present.clusters {
		if err := remove("cluster", cluster.name, func() (client.WriteResult, error) {
			return c.DeleteCluster(ctx, cluster.name, client.WriteOptions{})
		}); err != nil {
			return err
		}
	}
	return nil
}
