package model

import "time"

// A document has an upper bound in every direction, so that what one client
// sends cannot exhaust a node. The limits are far above what real packages use;
// the size in bytes is bounded by who reads the document.
const (
	// MaxNameLength bounds names and keys, in bytes.
	MaxNameLength = 253
	// MaxEnvironmentLength bounds the names of environments, in bytes: they
	// become DNS labels.
	MaxEnvironmentLength = 63
	// MaxTagLength bounds a tag, in bytes.
	MaxTagLength = 128
	// MaxLineLength bounds text of one line (images, addresses, versions), in
	// bytes.
	MaxLineLength = 4 << 10
	// MaxTextLength bounds free text (descriptions, config values), in bytes.
	MaxTextLength = 64 << 10

	// MaxClasses and MaxFunctions bound a package.
	MaxClasses   = 1_000
	MaxFunctions = 10_000
	// MaxTargetEnvironments bounds every list and map over environments.
	MaxTargetEnvironments = 10_000
	// MaxDeployments bounds the deployments embedded in a package.
	MaxDeployments = 1_000
	// MaxEntries bounds every other list and map: tags, dependencies, config,
	// bindings of a class, parameters, collections.
	MaxEntries = 1_000

	// MaxLabels bounds the labels of a cluster, and each list of a placement.
	MaxLabels = 100
	// MaxWeight bounds the weight of a cluster.
	MaxWeight = 10_000
	// MaxCapacity bounds the capacity of a cluster, in units.
	MaxCapacity = 1_000_000
	// MaxDuration bounds every duration in a document.
	MaxDuration = 366 * 24 * time.Hour

	// maxItems is the largest list that is decoded at all. It equals the largest
	// limit above: a longer list is refused before memory is spent on it.
	maxItems = 10_000
	// maxDepth bounds how deep lists and objects nest.
	maxDepth = 64
	// maxValues bounds the values of a document, after the expansion of YAML
	// aliases.
	maxValues = 300_000
	// maxExpandedBytes bounds the text of a document after the expansion of
	// YAML aliases.
	maxExpandedBytes = 32 << 20
	// maxDocuments bounds the documents of one file.
	maxDocuments = 1_000
	// maxProblems bounds how many problems and unknown fields are listed.
	maxProblems = 100
	// maxEcho bounds how much of the input a message repeats, in bytes.
	maxEcho = 64
)
