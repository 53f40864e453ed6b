// Package ext is what Traefik's own replacement of it is: nothing. That is in a folder which Traefik's module leaves out.
package ext

// HTTP is embedded in the HTTP configuration.
type HTTP struct{}

// Router is embedded in an HTTP router.
type Router struct{}
