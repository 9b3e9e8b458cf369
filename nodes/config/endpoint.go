package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

// CheckAPI says what is wrong with the URL of an API to which a secret goes: it
// must be https, but on this machine, where people try things out. It gives nil if
// nothing is.
func CheckAPI(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return fmt.Errorf("%q is no http or https URL", Clip(s))
	}
	a, err := netip.ParseAddr(u.Hostname())
	if here := u.Hostname() == "localhost" || err == nil && a.IsLoopback(); u.Scheme == "http" && !here {
		return errors.New("want https: a secret would be read on the way")
	}
	return nil
}
