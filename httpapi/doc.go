// Package httpapi is the REST interface of a node: routes, middleware, handlers,
// watch streams, the OpenAPI description and the web page.
//
// It validates input, turns it into commands for a storage.Store, and copies
// stored documents to the socket as they are. The rules that must hold when a
// change commits are not here (see fsm); what a request may use up (bytes,
// time, connections, watchers) is. The package never sees Raft, bbolt, gossip
// nor speaks to a CRM: what it needs of them is declared in Deps.
//
// Three places hold what all handlers share: routes.go is the one table of
// routes, middleware.go the one chain that every request passes, status.go the
// one table from error code to HTTP status.
//
// Goroutines: fasthttp runs one per connection. A watch stream takes over its
// connection and runs two, owned by the hub, which Shutdown waits for. Nothing
// of a fasthttp.RequestCtx may be kept after its handler returned: its bytes are
// used again.
package httpapi
