package nodes

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// openListeners gives the listeners for these addresses: those that were handed
// over, or else our own.
func openListeners(m Machine, addresses []string) ([]net.Listener, error) {
	if all := m.Inherited(); len(all) > 0 {
		if len(all) < len(addresses) {
			return nil, fmt.Errorf("inherited %d listeners, want %d", len(all), len(addresses))
		}
		return slices.Clone(all[:len(addresses)]), nil
	}
	var all []net.Listener
	for _, address := range addresses {
		l, err := m.Listen("tcp", address)
		if err != nil {
			return nil, errors.Join(err, closeListeners(all))
		}
		all = append(all, l)
	}
	return all, nil
}

func closeListeners(all []net.Listener) error {
	var errs []error
	for _, l := range all {
		errs = append(errs, ignoreClosed(l.Close()))
	}
	return errors.Join(errs...)
}
