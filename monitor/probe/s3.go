package probe

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/espra/protoplex/nodes"
)

// emptyHash is the SHA-256 of no body.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// signer signs requests for one object of S3 with the machine's clock (AWS
// Signature Version 4). A look is one request, so there is nothing to retry,
// and the rest of the SDK's client has nothing to do.
func signer(m nodes.Machine, key aws.Credentials, region string) func(*http.Request) error {
	s := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	return func(r *http.Request) error {
		r.Header.Set("X-Amz-Content-Sha256", emptyHash)
		if err := s.SignHTTP(context.Background(), key, r, emptyHash, "s3", region, m.Now().UTC()); err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		return nil
	}
}

// reason gives the code of an error that S3 tells in XML, "" if a body is none.
func reason(body []byte) string {
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	if xml.Unmarshal(body, &e) != nil || e.Code == "" {
		return ""
	}
	return fmt.Sprintf(": %.40q", e.Code)
}
