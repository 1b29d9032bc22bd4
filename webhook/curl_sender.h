// CurlSender: the Sender by libcurl, for receivers that may mean harm.
//
// One thread drives any number of transfers, so one that is slow delays no other. Each ends within
// the deadline, which covers name resolution, connecting, TLS, and an answer that comes in drops.
// The guard is asked about the very address that is being dialled, at that moment: a name that
// resolves to another address than before gains nothing. Redirects are not followed; no proxy, no
// cookie, no credential of the environment is used; each POST has a connection of its own.
//
// An answer counts as soon as its head is complete. The body is thrown away as it comes, and cut
// off when it is long; a long head is no answer.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "webhook/address_guard.h"
#include "webhook/sender.h"

namespace forkbox::webhook {

class CurlSender final : public Sender {
 public:
  struct Options {
    std::chrono::milliseconds deadline{15'000};
    std::string
        ca_file{};  // who vouches for receivers' certificates; "" for whom the system trusts
  };

  CurlSender(Options options, AddressGuard guard);
  ~CurlSender() override;  // Abort()
  CurlSender(const CurlSender&) = delete;
  CurlSender& operator=(const CurlSender&) = delete;

  void Send(Request request, Done done) override;
  void Abort() override;

 private:
  class Loop;
  const std::unique_ptr<Loop> loop_;
};

}  // namespace forkbox::webhook
