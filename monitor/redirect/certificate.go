package redirect

import (
	"context"
	"crypto/tls"

	"github.com/espra/protoplex/nodes"
)

// certificates reads the files and gives what chooses among them by the name
// that a client asks for, the first where none fits, and what keeps each fresh.
func certificates(m nodes.Machine, files []string) (get func(*tls.ClientHelloInfo) (*tls.Certificate, error), keep []func(context.Context), err error) {
	var all []*nodes.Certificate
	for _, file := range files {
		c, err := nodes.NewCertificate(m, file)
		if err != nil {
			return nil, nil, err
		}
		all, keep = append(all, c), append(keep, c.Keep)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, c := range all {
			if pair, err := c.Get(hello); err == nil && hello.SupportsCertificate(pair) == nil {
				return pair, nil
			}
		}
		return all[0].Get(hello)
	}, keep, nil
}
