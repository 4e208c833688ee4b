package httpapi

import (
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (s *Server) handleGetPackage(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	return rq.answerDocument("package", storage.PackagePrefix, name)
}

func (s *Server) handleCreatePackage(rq request) error {
	return rq.storePackage("", storage.Create)
}

func (s *Server) handleUpdatePackage(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	return rq.storePackage(name, storage.Update)
}

func (s *Server) handlePutPackage(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	return rq.storePackage(name, storage.Upsert)
}

// storePackage stores the package in the body; inPath, when not empty, is what
// its name must be. Embedded deployments are validated and dropped, or stored
// as deployments when ?apply_deployments=true. With ?force=true classes that are
// deployed may vanish; with ?dry_run=true nothing is stored.
func (rq request) storePackage(inPath string, mode storage.PutMode) error {
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	applyDeployments, _, err := rq.queryBool("apply_deployments")
	if err != nil {
		return err
	}
	force, _, err := rq.queryBool("force")
	if err != nil {
		return err
	}
	dryRun, _, err := rq.queryBool("dry_run")
	if err != nil {
		return err
	}
	pkg, err := decodeBody(rq, model.DecodePackage)
	if err != nil {
		return err
	}
	if inPath != "" {
		if err := requireName("name", pkg.Name, inPath); err != nil {
			return err
		}
	}
	if mode, err = pre.mode(mode); err != nil {
		return err
	}
	deployments := pkg.Deployments
	pkg.Deployments = nil
	cmd, err := storage.NewPutPackage(pkg, mode, pre.version)
	if err != nil {
		return err
	}
	cmd.Force = force
	var commands []storage.PutDeployment
	if applyDeployments {
		if commands, err = embeddedDeployments(pkg.Name, deployments); err != nil {
			return err
		}
	}
	if dryRun {
		return rq.dryRunPackage(cmd, commands, pre)
	}
	res, err := rq.apply(cmd, requestID(key, ""))
	if err != nil {
		return pre.explain(err)
	}
	stored, err := rq.applyEmbedded(pkg.Name, key, commands)
	if err != nil {
		return err
	}
	rq.setETag(res.ResourceVersion)
	return rq.answerJSON(createdOr200(res.Outcome), appendPackageAnswer(nil, pkg.Name, outcomeWord(res.Outcome), stored))
}

// embeddedDeployments makes the commands for the deployments inside a package,
// before anything is stored.
func embeddedDeployments(pkg string, deployments []model.Deployment) ([]storage.PutDeployment, error) {
	commands := make([]storage.PutDeployment, len(deployments))
	for i, d := range deployments {
		if d.PackageName == "" {
			d.PackageName = pkg
		}
		if d.PackageName != pkg {
			return nil, invalidField(fmt.Sprintf("deployments[%d].package_name", i), "is %q, but the package is %q", d.PackageName, pkg)
		}
		cmd, err := storage.NewPutDeployment(d, 0, 0)
		if err != nil {
			return nil, err
		}
		commands[i] = cmd
	}
	return commands, nil
}

// applyEmbedded stores the deployments of a package that has just been stored.
// The first failure ends it, and says how far it came.
func (rq request) applyEmbedded(pkg, key string, commands []storage.PutDeployment) ([]storedDeployment, error) {
	stored := make([]storedDeployment, 0, len(commands))
	for _, cmd := range commands {
		res, err := rq.apply(cmd, requestID(key, "deployment "+cmd.Key))
		if err != nil {
			e := *asModelError(err)
			e.Message = fmt.Sprintf("package %q and %d of its %d deployments are stored, deployment %q is not: %s",
				pkg, len(stored), len(commands), cmd.Key, e.Message)
			return nil, &e
		}
		stored = append(stored, storedDeployment{cmd.Key, outcomeWord(res.Outcome)})
	}
	return stored, nil
}

// storedDeployment is an embedded deployment in the answer to a package.
type storedDeployment struct{ key, status string }

func appendPackageAnswer(dst []byte, id, status string, deployments []storedDeployment) []byte {
	dst = appendOutcome(dst, id, status, "Package "+status+" successfully")
	if len(deployments) > 0 {
		dst = append(dst, `,"deployments":[`...)
		for i, d := range deployments {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"id":`...)
			dst = appendText(dst, d.key, false)
			dst = append(dst, `,"status":`...)
			dst = append(appendText(dst, d.status, false), '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}', '\n')
}

// appendOutcome begins the answer that existing clients know for a write.
func appendOutcome(dst []byte, id, status, message string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendText(dst, id, false)
	dst = append(dst, `,"status":`...)
	dst = appendText(dst, status, false)
	dst = append(dst, `,"message":`...)
	return appendText(dst, message, false)
}

func (s *Server) handleDeletePackage(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	cascade, given, err := rq.queryBool("cascade")
	if err != nil {
		return err
	}
	if !given {
		cascade = rq.s.cfg.DeleteCascade
	}
	cmd := storage.DeletePackage{Name: name, IfMatch: pre.version, Cascade: cascade}
	if _, err := rq.apply(cmd, requestID(key, "")); err != nil {
		return pre.explain(err)
	}
	rq.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
