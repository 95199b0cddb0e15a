// Holds a lock while it works, with nothing but the protos and gRPC for Go.
//
//	clients/go/build build/clients-go
//	build/clients-go/bin/hold_lock 127.0.0.1:9090 orders/42 5
//
// With TLS it takes --cacert, --cert, --key, --server-name and --token-file, or LOCKCTL_CACERT and
// so on and LOCKCTL_TOKEN from the environment, as lockctl does.
//
// Works for 5 seconds, prints the token first and how it went last. Exit status: 0 done, 1 not
// acquired, 2 wrong options, 3 no answer, 4 lost while it worked, 5 denied.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "lockmgr/v1"
)

// Calls that met this are repeated. With the same request id that is safe: one true answer.
var passing = map[codes.Code]bool{
	codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Aborted: true}
var denied = map[codes.Code]bool{codes.Unauthenticated: true, codes.PermissionDenied: true}

const callTime = 5 * time.Second

// now is of a clock that counts on while the machine sleeps. Those of package time do not.
func now() time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &at); err != nil {
		panic(err)
	}
	return time.Duration(at.Nano())
}

// newID returns a name that nobody else has.
func newID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err)
	}
	return hex.EncodeToString(id)
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// repeat calls until there is an answer, or an error that a repeat does not cure, or the time is
// over. It returns the answer and when its call was sent: the lease counts from that moment.
func repeat[Request, Answer any](ctx context.Context, limit time.Duration,
	method func(context.Context, *Request, ...grpc.CallOption) (*Answer, error),
	request *Request) (*Answer, time.Duration, error) {
	for end := now() + limit; ; time.Sleep(100 * time.Millisecond) {
		sent := now()
		left := end - sent
		if left < 100*time.Millisecond {
			left = 100 * time.Millisecond
		}
		call, cancel := context.WithTimeout(ctx, left)
		answer, err := method(call, request, grpc.WaitForReady(true))
		cancel()
		if err == nil || !passing[status.Code(err)] || now() > end {
			return answer, sent, err
		}
	}
}

// notAcquired is the error when somebody else held the lock all the time.
type notAcquired struct{ result pb.AcquireResult }

func (e notAcquired) Error() string { return e.result.String() }

// A lock is held from acquire to release, as long as isSafe says so.
type lock struct {
	service   pb.LockServiceClient
	name      string
	ttl, wait time.Duration
	owner     string
	token     int64
	holdID    string
	safeUntil atomic.Int64 // a time of now
	stop      context.CancelFunc
	stopped   chan struct{} // closed when nothing is renewed any more
}

// isSafe is false: stop using what the lock protects at once.
func (l *lock) isSafe() bool { return now() < time.Duration(l.safeUntil.Load()) }

func (l *lock) acquire() error {
	answer, sent, err := repeat(context.Background(), l.wait+callTime, l.service.Acquire,
		&pb.AcquireRequest{Name: l.name, Owner: l.owner, RequestId: newID(),
			TtlMs: l.ttl.Milliseconds(), WaitMs: l.wait.Milliseconds()})
	if err != nil {
		return err
	}
	if answer.Result != pb.AcquireResult_ACQUIRE_RESULT_GRANTED {
		return notAcquired{answer.Result}
	}
	l.token, l.holdID = answer.Token, answer.HoldId
	l.ttl = milliseconds(answer.TtlMs) // what was applied
	l.note(sent, answer.LeaseRemainingMs)
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.stopped = stop, make(chan struct{})
	go l.keep(ctx)
	return nil
}

func (l *lock) release() {
	l.stop()
	<-l.stopped
	l.safeUntil.Store(0)
	_, _, err := repeat(context.Background(), callTime, l.service.Release, &pb.ReleaseRequest{
		Name: l.name, Owner: l.owner, HoldId: l.holdID, RequestId: newID()})
	if err != nil {
		// It is over anyway, or will be when its lease has run out.
		fmt.Fprintln(os.Stderr, "not released:", status.Convert(err).Message())
	}
}

// note takes off 1 % and 50 ms: clocks do not run alike.
func (l *lock) note(sent time.Duration, leaseRemainingMs int64) {
	left := milliseconds(leaseRemainingMs)
	l.safeUntil.Store(int64(sent + left - left/100 - 50*time.Millisecond))
}

// keep renews at a third of the lease, until the lock is given back or lost.
func (l *lock) keep(ctx context.Context) {
	defer close(l.stopped)
	request := &pb.RenewRequest{Name: l.name, Owner: l.owner, HoldId: l.holdID}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.ttl / 3):
		}
		left := time.Duration(l.safeUntil.Load()) - now()
		answer, sent, err := repeat(ctx, left, l.service.Renew, request)
		if status.Code(err) == codes.FailedPrecondition {
			l.safeUntil.Store(0) // STALE_HOLD: it has ended
		}
		if err != nil {
			return
		}
		l.note(sent, answer.LeaseRemainingMs)
	}
}

type options struct {
	cacert, cert, key, serverName, tokenFile, token string
	address, name                                   string
	work                                            time.Duration
}

// readOptions takes from the environment what the command line does not say.
func readOptions(args []string) (*options, error) {
	found := &options{token: os.Getenv("LOCKCTL_TOKEN")}
	flags := flag.NewFlagSet("hold_lock", flag.ExitOnError)
	for name, value := range map[string]*string{"cacert": &found.cacert, "cert": &found.cert,
		"key": &found.key, "server-name": &found.serverName, "token-file": &found.tokenFile} {
		variable := "LOCKCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		flags.StringVar(value, name, os.Getenv(variable), "as for lockctl")
	}
	words := parse(flags, args)
	if len(words) != 3 {
		return nil, errors.New("usage: hold_lock [OPTIONS] ADDRESS NAME SECONDS")
	}
	seconds, err := strconv.ParseFloat(words[2], 64)
	if err != nil {
		return nil, err
	}
	found.address, found.name = words[0], words[1]
	found.work = time.Duration(seconds * float64(time.Second))
	flags.Visit(func(given *flag.Flag) {
		if given.Name == "token-file" {
			found.token = ""
		}
	})
	return found, found.check()
}

// parse returns what is no option. Options may stand before and behind it, except behind a "--".
func parse(flags *flag.FlagSet, args []string) (words []string) {
	for {
		flags.Parse(args)
		rest := flags.Args()
		read := len(args) - len(rest)
		if len(rest) == 0 || (read > 0 && args[read-1] == "--") {
			return append(words, rest...)
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

// check reads the token too. It is never on the command line itself, where everybody on the machine
// can read it.
func (o *options) check() error {
	if o.token == "" && o.tokenFile != "" {
		token, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return err
		}
		o.token = strings.TrimSpace(string(token))
	}
	if (o.cert == "") != (o.key == "") {
		return errors.New("a certificate and its key are given together")
	}
	if o.cacert == "" && o.token+o.cert+o.serverName != "" {
		return errors.New(
			"a token or certificate needs --cacert, the authority that signs the nodes")
	}
	return nil
}

// connect takes TLS with --cacert, else plaintext. A certificate or a token says who this client is.
func (o *options) connect() (*grpc.ClientConn, error) {
	if o.cacert == "" {
		return grpc.Dial(o.address, grpc.WithInsecure())
	}
	config := &tls.Config{
		ServerName: o.serverName, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	authority, err := os.ReadFile(o.cacert)
	if err != nil {
		return nil, err
	}
	if !config.RootCAs.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s", o.cacert)
	}
	if o.cert != "" {
		own, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	ways := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}
	if o.token != "" {
		ways = append(ways, grpc.WithPerRPCCredentials(bearer(o.token)))
	}
	return grpc.Dial(o.address, ways...)
}

// bearer is a token that goes along with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return true }

func hold(l *lock, work time.Duration) int {
	if err := l.acquire(); err != nil {
		return refused(err)
	}
	fmt.Println("token", l.token)
	for end := now() + work; l.isSafe() && now() < end; {
		time.Sleep(50 * time.Millisecond) // the work; every write takes l.token along
	}
	lost := !l.isSafe()
	l.release()
	if lost {
		fmt.Println("lost")
		return 4
	}
	fmt.Println("done")
	return 0
}

func refused(err error) int {
	var held notAcquired
	if errors.As(err, &held) {
		fmt.Println("not acquired:", held)
		return 1
	}
	said := status.Convert(err)
	fmt.Printf("refused: %s: %s\n", code.Code(said.Code()), said.Message())
	if denied[said.Code()] {
		return 5
	}
	return 3
}

func run(args []string) (int, error) {
	options, err := readOptions(args)
	if err != nil {
		return 2, err
	}
	connection, err := options.connect()
	if err != nil {
		return 2, err
	}
	defer connection.Close()
	return hold(&lock{service: pb.NewLockServiceClient(connection), name: options.name,
		owner: "go-" + newID(), ttl: 3 * time.Second, wait: 2 * time.Second}, options.work), nil
}

func main() {
	exit, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(exit)
}
