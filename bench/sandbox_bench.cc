#include "bench/sandbox_bench.h"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "bench/process_tree.h"

namespace forkbox::bench {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr std::size_t kFileBytes = 64U << 20;
constexpr std::size_t kStateBytes = 100U << 20;
constexpr std::size_t kIdleSandboxes = 100;
constexpr const char* kSandbox =
    R"({"image":{"uri":"bench"},"entrypoint":["tail","-f","/dev/null"],"timeout":3600,)"
    R"("resourceLimits":{"cpu":"2","memory":"2Gi"}})";

// One keep-alive client. Answers with the body when the status was 2xx.
class Client {
 public:
  explicit Client(std::string base) : base_(std::move(base)), curl_(::curl_easy_init()) {}
  ~Client() { ::curl_easy_cleanup(curl_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::string token;

  std::optional<std::string> Ask(const char* method, const std::string& path,
                                 const std::string& body = "") {
    return Perform(method, path, body, nullptr);
  }

  // Calls `seen` with all that came so far, each time more comes.
  std::optional<std::string> Watch(const std::string& path, const std::string& body,
                                   std::function<void(std::string_view)> seen) {
    seen_ = std::move(seen);
    auto answer = Perform("POST", path, body, nullptr);
    seen_ = nullptr;
    return answer;
  }

  bool Upload(const std::string& path, const std::string& content) {
    curl_mime* form = ::curl_mime_init(curl_);
    curl_mimepart* metadata = ::curl_mime_addpart(form);
    ::curl_mime_name(metadata, "metadata");
    ::curl_mime_filename(metadata, "metadata");
    ::curl_mime_data(metadata, json{{"path", path}, {"mode", 644}}.dump().c_str(),
                     CURL_ZERO_TERMINATED);
    curl_mimepart* file = ::curl_mime_addpart(form);
    ::curl_mime_name(file, "file");
    ::curl_mime_filename(file, "file");
    ::curl_mime_data(file, content.data(), content.size());
    const bool good = Perform("POST", "/files/upload", "", form).has_value();
    ::curl_mime_free(form);
    return good;
  }

 private:
  static std::size_t OnData(const char* data, std::size_t, std::size_t size, void* self) {
    auto* client = static_cast<Client*>(self);
    client->answer_.append(data, size);
    if (client->seen_) client->seen_(client->answer_);
    return size;
  }

  std::optional<std::string> Perform(const char* method, const std::string& path,
                                     const std::string& body, curl_mime* form) {
    answer_.clear();
    ::curl_easy_reset(curl_);  // keeps the connection
    ::curl_easy_setopt(curl_, CURLOPT_URL, (base_ + path).c_str());
    ::curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
    ::curl_easy_setopt(curl_, CURLOPT_TIMEOUT, 60L);
    ::curl_easy_setopt(curl_, CURLOPT_BUFFERSIZE, 512L * 1024L);
    ::curl_easy_setopt(curl_, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024L);
    ::curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, &Client::OnData);
    ::curl_easy_setopt(curl_, CURLOPT_WRITEDATA, this);
    curl_slist* headers = nullptr;
    headers = ::curl_slist_append(headers, ("X-EXECD-ACCESS-TOKEN: " + token).c_str());
    headers = ::curl_slist_append(headers, "Expect:");
    if (form != nullptr) {
      ::curl_easy_setopt(curl_, CURLOPT_MIMEPOST, form);
    } else if (std::string_view(method) != "GET") {
      headers = ::curl_slist_append(headers, "Content-Type: application/json");
      ::curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body.c_str());
      ::curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, method);
    }
    ::curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers);
    long status = 0;
    const bool done = ::curl_easy_perform(curl_) == CURLE_OK;
    ::curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    ::curl_slist_free_all(headers);
    if (!done || status < 200 || status > 299) return std::nullopt;
    return answer_;
  }

  const std::string base_;
  CURL* curl_;
  std::string answer_;
  std::function<void(std::string_view)> seen_;
};

std::string IdIn(const std::optional<std::string>& answer) {
  const json document = json::parse(answer.value_or("{}"), nullptr, false);
  return document.is_object() ? document.value("id", "") : "";
}

double ProportionalMib(pid_t pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string word; rollup >> word;) {
    if (word != "Pss:") continue;
    double kib = 0;
    rollup >> kib;
    return kib / 1024;
  }
  return 0;
}

// Of all these and those below them: what each has for itself and its share of the rest.
double TreeMemoryMib(const std::vector<pid_t>& pids) {
  double all = 0;
  for (const pid_t pid : pids) {
    all += ProportionalMib(pid);
    std::vector<pid_t> below;
    std::error_code gone;
    const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
      std::ifstream children(task.path() / "children");
      for (pid_t child = 0; children >> child;) below.push_back(child);
    }
    all += TreeMemoryMib(below);
  }
  return all;
}

class HttpSandboxBench final : public SandboxBench {
 public:
  HttpSandboxBench(std::uint16_t port, std::vector<pid_t> servers, std::string folder)
      : host_("http://127.0.0.1:" + std::to_string(port)),
        servers_(std::move(servers)),
        folder_(std::move(folder)),
        lifecycle_(host_ + "/v1") {}
  ~HttpSandboxBench() override {
    if (!id_.empty()) lifecycle_.Ask("DELETE", "/sandboxes/" + id_);
  }

  bool Open() {
    id_ = IdIn(lifecycle_.Ask("POST", "/sandboxes", kSandbox));
    if (id_.empty()) return false;
    const auto endpoint = lifecycle_.Ask("GET", "/sandboxes/" + id_ + "/endpoints/44772");
    const json document = json::parse(endpoint.value_or("{}"), nullptr, false);
    if (!document.is_object() || !document.contains("endpoint")) return false;
    execd_ = std::make_unique<Client>("http://" + document["endpoint"].get<std::string>());
    if (document.contains("headers")) {
      execd_->token = document["headers"].value("X-EXECD-ACCESS-TOKEN", "");
    }
    context_ = IdIn(execd_->Ask("POST", "/code/context", R"({"language":"python"})"));
    heavy_ = IdIn(execd_->Ask("POST", "/code/context", R"({"language":"python"})"));
    const std::string fill = "state = bytearray(b'x') * " + std::to_string(kStateBytes);
    content_.assign(kFileBytes, 'x');
    std::ofstream(folder_ + "/file", std::ios::binary) << content_;
    return !context_.empty() && execd_->Ask("POST", "/code", Cell(heavy_, fill)).has_value();
  }

  void AddRows(std::vector<Row>& rows, const std::string& bare, std::size_t scale) override {
    const std::string shell = "bare bash -c true";
    const std::string copy = "cp 64 MiB";
    rows.push_back(CommandRow(shell, shell, {"/bin/bash", "-c", "true"}, 1, scale));
    rows.push_back(CommandRow(copy, copy, {"/bin/cp", folder_ + "/file", folder_ + "/copy"}, 1,
                              scale / 10 + 1));
    Add(rows, "sandbox, create → ready", bare, scale, [this] { return CreateToReady(); });
    Add(rows, "context, create", bare, scale, [this] { return CreateContext(); });
    Add(rows, "live context, print(1)", bare, scale,
        [this] { return Says(Cell(context_, "print(1)"), R"("text":"1\n")"); });
    Add(rows, "context with 100 MB, fork", bare, scale, [this] { return ForkContext(); });
    Add(rows, "commands.run('true')", shell, scale, [this] {
      const auto answer = execd_->Ask("POST", "/command", R"({"command":"true"})");
      return answer && answer->find("execution_complete") != std::string::npos;
    });
    rows.push_back(FirstByteRow(shell, scale));
    Add(rows, "upload 64 MiB", copy, scale / 10 + 1,
        [this] { return execd_->Upload("/box/work/file", content_); });
    Add(rows, "download 64 MiB", copy, scale / 10 + 1, [this] {
      const auto answer = execd_->Ask("GET", "/files/download?path=/box/work/file");
      return answer && answer->size() == kFileBytes;
    });
  }

  void PrintIdleMemory() override {
    const double before = TreeMemoryMib(servers_);
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < kIdleSandboxes; ++i) {
      ids.push_back(IdIn(lifecycle_.Ask("POST", "/sandboxes", kSandbox)));
      if (ids.back().empty()) ids.pop_back();
    }
    const double after = TreeMemoryMib(servers_);
    std::printf("\n%zu idle sandboxes take %.1f MiB, %.2f MiB each (Pss of all processes)\n",
                ids.size(), after - before,
                (after - before) / static_cast<double>(std::max<std::size_t>(1, ids.size())));
    for (const std::string& id : ids) lifecycle_.Ask("DELETE", "/sandboxes/" + id);
  }

 private:
  static std::string Cell(const std::string& context, const std::string& code) {
    return json{{"code", code}, {"context", {{"id", context}, {"language", "python"}}}}.dump();
  }

  // `once` is measured; what it leaves in cleanup_ is done afterwards, unmeasured.
  void Add(std::vector<Row>& rows, std::string name, std::string yardstick, std::size_t runs,
           std::function<bool()> once) {
    Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
    row.run = [this, once = std::move(once)](std::size_t times, std::vector<double>* latencies) {
      std::size_t failed = 0;
      for (std::size_t i = 0; i < times; ++i) {
        const auto start = steady_clock::now();
        if (once()) {
          latencies->push_back(MillisSince(start));
        } else {
          ++failed;
        }
        if (auto cleanup = std::exchange(cleanup_, nullptr)) cleanup();
      }
      return failed;
    };
    row.cpu_ms = [this] { return CpuMillis(); };
    rows.push_back(std::move(row));
  }

  Row FirstByteRow(const std::string& yardstick, std::size_t runs) {
    Row row{.name = "first line of a command that goes on",
            .yardstick = yardstick,
            .runs_a_round = runs};
    row.run = [this](std::size_t times, std::vector<double>* latencies) {
      std::size_t failed = 0;
      for (std::size_t i = 0; i < times; ++i) {
        bool seen = false;
        const auto start = steady_clock::now();
        execd_->Watch("/command", R"({"command":"echo first; sleep 0.02"})",
                      [&](std::string_view text) {
                        if (seen || text.find(R"("text":"first")") == text.npos) return;
                        seen = true;
                        latencies->push_back(MillisSince(start));
                      });
        if (!seen) ++failed;
      }
      return failed;
    };
    row.cpu_ms = [this] { return CpuMillis(); };
    return row;
  }

  [[nodiscard]] double CpuMillis() const {
    double all = 0;
    for (const pid_t pid : servers_) all += TreeCpuMillis(pid);
    return all;
  }

  bool Says(const std::string& cell, std::string_view expected) {
    const auto answer = execd_->Ask("POST", "/code", cell);
    return answer && answer->find(expected) != std::string::npos;
  }

  bool CreateToReady() {
    const std::string id = IdIn(lifecycle_.Ask("POST", "/sandboxes", kSandbox));
    if (id.empty()) return false;
    cleanup_ = [this, id] { lifecycle_.Ask("DELETE", "/sandboxes/" + id); };
    const auto endpoint = lifecycle_.Ask("GET", "/sandboxes/" + id + "/endpoints/44772");
    const json document = json::parse(endpoint.value_or("{}"), nullptr, false);
    if (!document.is_object() || !document.contains("headers")) return false;
    // Over the same connection: a client that is already there.
    lifecycle_.token = document["headers"].value("X-EXECD-ACCESS-TOKEN", "");
    return lifecycle_.Ask("GET", "/sandboxes/" + id + "/proxy/44772/ping").has_value();
  }

  bool CreateContext() {
    const std::string id = IdIn(execd_->Ask("POST", "/code/context", R"({"language":"python"})"));
    cleanup_ = [this, id] { execd_->Ask("DELETE", "/code/contexts/" + id); };
    return !id.empty();
  }

  bool ForkContext() {
    const std::string id = IdIn(execd_->Ask("POST", "/code/contexts/" + heavy_ + "/fork"));
    cleanup_ = [this, id] { execd_->Ask("DELETE", "/code/contexts/" + id); };
    return !id.empty();
  }

  const std::string host_;
  const std::vector<pid_t> servers_;
  const std::string folder_;
  Client lifecycle_;
  std::unique_ptr<Client> execd_;
  std::string id_;
  std::string context_;
  std::string heavy_;  // a context with much in memory
  std::string content_;
  std::function<void()> cleanup_;
};

}  // namespace

std::unique_ptr<SandboxBench> SandboxBench::Start(std::uint16_t port, std::vector<pid_t> servers,
                                                  const std::string& folder) {
  auto bench = std::make_unique<HttpSandboxBench>(port, std::move(servers), folder);
  if (bench->Open()) return bench;
  std::fprintf(stderr, "no sandbox could be opened: its rows are left out\n");
  return nullptr;
}

}  // namespace forkbox::bench
