package aws

import (
	"net/http"
	"strings"
	"sync"
)

// Amnesia is a loss of the state of load balancers that comes and goes, as on 24
// December 2012. While it lasts edits of load balancing are refused, and a target
// group that is changed, by its scaling group too, has no targets as far as the
// data plane is told. After it the state is what it would have been.
//
// Its methods may be called concurrently; of a nil one only those of this
// package.
type Amnesia struct {
	mu      sync.Mutex
	on      bool
	touched uint64
}

// Set has the state lost, or found again.
func (a *Amnesia) Set(lost bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = lost
}

// Touched counts the edits that were refused, and the nodes that were told of a
// group without targets.
func (a *Amnesia) Touched() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.touched
}

func (a *Amnesia) lost() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.on
}

// strikes counts a use of the lost state, and tells whether it is lost.
func (a *Amnesia) strikes() bool {
	if !a.lost() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.touched++
	return true
}

// edits tells whether an action changes a load balancer's state.
func edits(action string) bool {
	for _, verb := range []string{"Register", "Deregister", "Modify"} {
		if strings.HasPrefix(action, verb) {
			return true
		}
	}
	return false
}

func forgotten() *apiError {
	return &apiError{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error."}
}
