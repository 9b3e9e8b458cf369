package sms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/espra/protoplex/nodes"
)

// SNSOptions say through which region of Amazon SNS to send, and as whom.
type SNSOptions struct {
	URL         string // of another endpoint; empty is Amazon's for the region
	Region      string // Amazon's name of it, such as eu-west-1
	Key, Secret string // of an account
	From        string // sender id; empty leaves the choice to Amazon
}

// SNS sends through Amazon SNS, the action Publish to a phone number, as
// transactional messages.
//
// SNS takes messages that it will not deliver, and tells nobody but the logs of
// its account. So before each message SNS is asked whether the number has opted
// out of messages and, until the account is known to have left the SMS sandbox,
// whether the number is verified in it. If it cannot be asked, the message is
// sent all the same. That the account's budget of a month is spent cannot be
// asked: where that must be known, a person has to confirm the message.
type SNS struct {
	name   string
	client *sns.Client
	from   string
	free   atomic.Bool // the account has left the sandbox, to which none returns
}

var _ Texter = (*SNS)(nil)

// NewSNS makes a texter that sends its requests through client, signed with the
// clock of m. A clock that is more than 15 minutes wrong has all refused.
func NewSNS(m nodes.Machine, client *http.Client, o SNSOptions) *SNS {
	endpoint := cmp.Or(o.URL, "https://sns."+o.Region+".amazonaws.com")
	return &SNS{name: "sns-" + o.Region, from: o.From, client: sns.New(sns.Options{
		Region: o.Region, BaseEndpoint: &endpoint, HTTPClient: plainAgent{client},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.Key, SecretAccessKey: o.Secret}, nil
		}),
		HTTPSignerV4:               clockSigner{v4.NewSigner(), m},
		DisableClockSkewCorrection: true,             // it would be one of the SDK's, for all machines
		Retryer:                    aws.NopRetryer{}, // the caller decides
		APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
			// A random number on each request.
			_, err := s.Build.Remove("ClientRequestID")
			return err
		}},
	})}
}

// Name implements Texter.
func (s *SNS) Name() string { return s.name }

// Text implements Texter.
func (s *SNS) Text(ctx context.Context, to, body string) (Receipt, error) {
	if err := s.barred(ctx, to); err != nil {
		return Receipt{Outcome: Refused}, err
	}
	attributes := map[string]types.MessageAttributeValue{"AWS.SNS.SMS.SMSType": text("Transactional")}
	if s.from != "" {
		attributes["AWS.SNS.SMS.SenderID"] = text(s.from)
	}
	out, err := s.client.Publish(ctx, &sns.PublishInput{PhoneNumber: &to, Message: &body, MessageAttributes: attributes})
	if err != nil {
		return Receipt{Outcome: published(err)}, fmt.Errorf("sns: publish: %w", short(err))
	}
	if aws.ToString(out.MessageId) == "" {
		return Receipt{Outcome: Unknown}, errors.New("sns: answer without a message id")
	}
	return Receipt{Outcome: Accepted, ID: *out.MessageId}, nil
}

func text(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

// Delivery implements Texter. It is always Unknown: the API has no query for
// it, and the logs of delivery are late and in another service.
func (s *SNS) Delivery(context.Context, string) (Delivery, error) {
	return Unknown, errors.New("sns: there is no way to ask whether a message has arrived")
}

// Find implements Texter. It is always Unknown: SNS keeps no list of messages.
func (s *SNS) Find(context.Context, string, string, time.Time) (Receipt, error) {
	return Receipt{Outcome: Unknown}, errors.New("sns: there is no way to ask whether a message was taken")
}

// barred says why a message for the number would be taken and dropped.
func (s *SNS) barred(ctx context.Context, to string) error {
	out, err := s.client.CheckIfPhoneNumberIsOptedOut(ctx, &sns.CheckIfPhoneNumberIsOptedOutInput{PhoneNumber: &to})
	if err == nil && out.IsOptedOut {
		return fmt.Errorf("sns: %s has opted out of messages", to)
	}
	if s.free.Load() {
		return nil
	}
	account, err := s.client.GetSMSSandboxAccountStatus(ctx, &sns.GetSMSSandboxAccountStatusInput{})
	if err != nil {
		return nil
	}
	if !account.IsInSandbox {
		s.free.Store(true)
		return nil
	}
	// A sandbox has ten numbers at most, which is less than a page.
	list, err := s.client.ListSMSSandboxPhoneNumbers(ctx, &sns.ListSMSSandboxPhoneNumbersInput{})
	if err != nil {
		return nil
	}
	for _, n := range list.PhoneNumbers {
		if aws.ToString(n.PhoneNumber) == to && n.Status == types.SMSSandboxPhoneNumberVerificationStatusVerified {
			return nil
		}
	}
	return fmt.Errorf("sns: the account is in the SMS sandbox, where %s is no verified number", to)
}

// published reads an error of Publish: what SNS answers with 4xx it has not done.
func published(err error) Outcome {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		if status := answer.HTTPStatusCode(); status >= 400 && status < 500 && status != http.StatusRequestTimeout {
			return Refused
		}
	}
	return Unknown
}

// short leaves of an error what SNS said, if it said something.
func short(err error) error {
	var said smithy.APIError
	if errors.As(err, &said) {
		return fmt.Errorf("%s: %s", said.ErrorCode(), said.ErrorMessage())
	}
	return err
}

// plainAgent sends the SDK's requests. The name that the SDK gives itself names
// the system, and so has another length elsewhere.
type plainAgent struct{ client *http.Client }

// Do implements sns.HTTPClient.
func (p plainAgent) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", "protoplex")
	return p.client.Do(r)
}

// clockSigner signs with the clock of a machine.
type clockSigner struct {
	*v4.Signer
	m nodes.Machine
}

// SignHTTP implements sns.HTTPSignerV4.
func (s clockSigner) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, s.m.Now().UTC(), options...)
}
