// forkbox_node.node: loaded by template.js into a stock node, it turns that process into a
// template and each copy of it into `node main.js`.
//
// Everything that depends on how this node was built is looked up by checkHost(), which throws if
// anything differs: the template then ends, and the language runs without one.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <node.h>
#include <node_version.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runner/languages/node/interrupts.h"
#include "runner/languages/node/loop_descriptors.h"
#include "runner/languages/node/platform_patch.h"
#include "runner/languages/node/randomness.h"
#include "runner/languages/node/start_environment.h"
#include "runner/languages/node/thread_id.h"
#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::javascript {
namespace {

using v8::Context;
using v8::Function;
using v8::FunctionCallbackInfo;
using v8::HandleScope;
using v8::Isolate;
using v8::Local;
using v8::Value;

// The child could not become a job. Seen by the driver, which knows that no program ran.
constexpr int kExitChildSetup = 70;

// One per process, from checkHost() on, and never destroyed: the template serves for ever, a child
// leaves with _exit().
struct Template {
  Isolate* isolate = nullptr;
  uv_loop_t* loop = nullptr;
  node::Environment* environment = nullptr;
  node::MultiIsolatePlatform* platform = nullptr;
  std::optional<Randomness> randomness;
  std::optional<ThreadId> thread_id;

  v8::Global<Context> context;
  v8::Global<Function> prepare;      // prepare(pid, fileName, args, sourceMaps)
  v8::Global<Function> run_main;     // what node itself does with the main file
  v8::Global<Function> run_session;  // runSession(channel): session.js
  std::string node_path;
  uv_idle_t turn{};   // see ServeForks()
  int exit_code = 0;  // of a program that ends by itself

  std::array<int, 2> saved_output{-1, -1};
  int captured = -1;
};
Template* the_template = nullptr;

void Throw(Isolate* isolate, const std::string& message) {
  isolate->ThrowException(
      v8::Exception::Error(v8::String::NewFromUtf8(isolate, message.c_str()).ToLocalChecked()));
}

Local<v8::String> Utf8(Isolate* isolate, const std::string& text) {
  return v8::String::NewFromUtf8(isolate, text.data(), v8::NewStringType::kNormal,
                                 static_cast<int>(text.size()))
      .ToLocalChecked();
}

// The end of every child. Node's own way out waits for threads that were never copied.
[[noreturn]] void Leave(int code) {
  // As stock node does: file operations that were started are finished.
  uv_library_shutdown();
  std::fflush(stdout);
  sandbox::AnnounceExit(code);
  ::_exit(code);
}

[[noreturn]] void FailChild(const char* what) {
  const std::string line = std::string("node template: ") + what + ": " + std::strerror(errno);
  (void)!::write(STDERR_FILENO, (line + "\n").c_str(), line.size() + 1);
  ::_exit(kExitChildSetup);
}

void CheckHost(const FunctionCallbackInfo<Value>& info) {
  Isolate* const isolate = info.GetIsolate();
  const Local<Context> context = isolate->GetCurrentContext();
  auto state = std::make_unique<Template>();
  state->isolate = isolate;
  state->loop = node::GetCurrentEventLoop(isolate);
  state->environment = node::GetCurrentEnvironment(context);
  state->platform = node::GetMultiIsolatePlatform(state->environment);
  state->context.Reset(isolate, context);
  if (std::string(NODE_VERSION) != *v8::String::Utf8Value(isolate, info[0])) {
    return Throw(isolate, std::string("built for node ") + NODE_VERSION);
  }
  if (::dlsym(RTLD_DEFAULT, "forkbox_keeps_mappings") == nullptr) {
    return Throw(isolate, "started without libforkbox_node_preload.so");
  }
  if (auto prepared = PlatformPatch::Prepare(*state->platform); !prepared) {
    return Throw(isolate, prepared.error().message);
  }
  auto randomness = Randomness::Find(*isolate);
  if (!randomness) return Throw(isolate, randomness.error().message);
  state->randomness = *randomness;
  auto thread_id = ThreadId::Find();
  if (!thread_id) return Throw(isolate, thread_id.error().message);
  state->thread_id = *thread_id;
  the_template = state.release();
}

// captureOutput(): 1 and 2 become pipes, as a job's are, for the time of the warm-up.
void CaptureOutput(const FunctionCallbackInfo<Value>& info) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return Throw(info.GetIsolate(), "cannot make a pipe");
  }
  for (int i = 0; i < 2; ++i) {
    const int fd = STDOUT_FILENO + i;
    the_template->saved_output[static_cast<std::size_t>(i)] = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    ::dup2(pipe[1], fd);
  }
  ::close(pipe[1]);
  the_template->captured = pipe[0];
}

// discardOutput(): so that the warm-up never meets a full pipe.
void DiscardOutput(const FunctionCallbackInfo<Value>& /*info*/) {
  std::array<char, 4096> bytes{};
  while (::read(the_template->captured, bytes.data(), bytes.size()) > 0) {
  }
}

void RestoreOutput(const FunctionCallbackInfo<Value>& /*info*/) {
  for (int i = 0; i < 2; ++i) {
    int& saved = the_template->saved_output[static_cast<std::size_t>(i)];
    ::dup2(saved, STDOUT_FILENO + i);
    ::close(saved);
    saved = -1;
  }
  ::close(the_template->captured);
}

void DrainTasks(const FunctionCallbackInfo<Value>& /*info*/) {
  the_template->platform->DrainTasks(the_template->isolate);
}

void SetExitCode(const FunctionCallbackInfo<Value>& info) {
  the_template->exit_code =
      info[0]->Int32Value(info.GetIsolate()->GetCurrentContext()).FromMaybe(0);
}

// Processor time used so far by every other thread of this process.
std::string OtherThreadsTime() {
  std::string times;
  const std::string own = std::to_string(::getpid());
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir("/proc/self/task"), &::closedir);
  if (tasks == nullptr) return times;
  while (const dirent* entry = ::readdir(tasks.get())) {
    if (entry->d_name[0] == '.' || own == entry->d_name) continue;
    std::ifstream schedule(std::string("/proc/self/task/") + entry->d_name + "/schedstat");
    times.append(std::istreambuf_iterator<char>(schedule), {}).push_back('\n');
  }
  return times;
}

// V8's threads finish what they do in their own time; a copy made meanwhile would carry a lock
// that nobody ever releases.
void WaitForQuietThreads() {
  using namespace std::chrono_literals;
  constexpr int kQuietRounds = 3;
  constexpr int kMaxRounds = 200;
  std::string before = OtherThreadsTime();
  for (int round = 0, quiet = 0; round < kMaxRounds && quiet < kQuietRounds; ++round) {
    std::this_thread::sleep_for(5ms);
    std::string now = OtherThreadsTime();
    quiet = now == before ? quiet + 1 : 0;
    before = std::move(now);
  }
}

// A new node for a job that asks for what only a new one can do. The isolation stays: this
// process already gave up everything.
[[noreturn]] void ExecNode(const sandbox::ChildJob& job, bool source_maps) {
  std::vector<std::string> strings{"node"};
  if (source_maps) strings.emplace_back("--enable-source-maps");
  strings.push_back(job.file_name);
  strings.insert(strings.end(), job.args.begin(), job.args.end());
  std::vector<std::string> variables;
  for (const auto& [name, value] : job.env) variables.push_back(name + "=" + value);
  const auto pointers = [](std::vector<std::string>& from) {
    std::vector<char*> to;
    for (std::string& text : from) to.push_back(text.data());
    to.push_back(nullptr);
    return to;
  };
  ::execve(the_template->node_path.c_str(), pointers(strings).data(), pointers(variables).data());
  FailChild("exec node");
}

void ReplaceEnvironment(const Environment& environment) {
  ::clearenv();
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
}

bool Has(const Environment& environment, std::string_view name) {
  for (const auto& variable : environment) {
    if (variable.first == name) return true;
  }
  return false;
}

void Prepare(const sandbox::ChildJob& job, bool source_maps) {
  Isolate* const isolate = the_template->isolate;
  const Local<Context> context = isolate->GetCurrentContext();
  std::vector<Local<Value>> args;
  for (const std::string& arg : job.args) args.push_back(Utf8(isolate, arg));
  std::array<Local<Value>, 4> parameters{
      v8::Integer::New(isolate, ::getpid()), Utf8(isolate, job.file_name),
      v8::Array::New(isolate, args.data(), args.size()), v8::Boolean::New(isolate, source_maps)};
  const v8::TryCatch failed(isolate);
  if (the_template->prepare.Get(isolate)
          ->Call(context, v8::Undefined(isolate), parameters.size(), parameters.data())
          .IsEmpty()) {
    errno = EINVAL;
    FailChild("prepare");
  }
}

// In the child, inside its cell: from a copy of the template to a program that runs.
void BecomeJob(int channel) {
  Isolate* const isolate = the_template->isolate;
  the_template->thread_id->Renew();
  PlatformPatch::Apply();
  if (!the_template->randomness->Reseed()) FailChild("reseed");
  node::SetProcessExitHandler(the_template->environment,
                              [](node::Environment*, int code) { Leave(code); });
  node::AddEnvironmentCleanupHook(
      isolate, [](void*) { Leave(the_template->exit_code); }, nullptr);

  sandbox::ChildJob job = sandbox::ReceiveJob(channel);
  if (job.reseed && !the_template->randomness->Reseed()) FailChild("reseed");

  StripForbidden(&job.env);
  const bool source_maps = TakeSourceMaps(&job.env);
  const bool session = job.entry == sandbox::ChildJob::Entry::kSession;
  if (session) {
    ::fcntl(channel, F_SETFD, FD_CLOEXEC);  // what a cell starts must not have it
  } else if (NeedsRealStart(job.env)) {
    ExecNode(job, source_maps);
  }
  uv_update_time(the_template->loop);
  ReplaceEnvironment(job.env);
  if (Has(job.env, "TZ")) {
    ::tzset();
    isolate->DateTimeConfigurationChangeNotification(Isolate::TimeZoneDetection::kRedetect);
  }

  const HandleScope scope(isolate);
  const Local<Context> context = the_template->context.Get(isolate);
  const Context::Scope entered(context);
  Prepare(job, source_maps);
  // The main script's asynchronous context (async_hooks): 1, triggered by nothing. Leaving the
  // scope runs ticks and promise jobs, as the end of a main script does.
  const node::CallbackScope main_script(isolate, v8::Object::New(isolate), {1, 0});
  // Verbose: what it throws goes where Node handles what nobody catches. If a handler of the
  // program's takes it, the scope above must not know, or it would leave out the ticks.
  v8::TryCatch uncaught(isolate);
  uncaught.SetVerbose(true);
  const Local<Function> run =
      (session ? the_template->run_session : the_template->run_main).Get(isolate);
  Local<Value> parameter = v8::Integer::New(isolate, channel);
  (void)run->Call(context, v8::Undefined(isolate), session ? 1 : 0, &parameter).IsEmpty();
}

// watchInterrupts(channel, handler): see Interrupts.
void WatchInterrupts(const FunctionCallbackInfo<Value>& info) {
  Isolate* const isolate = info.GetIsolate();
  const auto started = Interrupts::Start(isolate, the_template->loop,
                                         info[0].As<v8::Int32>()->Value(), info[1].As<Function>());
  if (!started) Throw(isolate, started.error().message);
}

void ArmInterrupts(const FunctionCallbackInfo<Value>& /*info*/) { Interrupts::Arm(); }

void InterruptPending(const FunctionCallbackInfo<Value>& info) {
  info.GetReturnValue().Set(Interrupts::Pending());
}

// serveForks(prepare, runMain, runSession, nodePath): from the next quiet turn of the loop, with no
// JavaScript on the stack, so that a job's stack traces end where a main script's do.
//
// The turn is the end of a handle. Closing callbacks are the last thing in an iteration of the
// loop, so what the job schedules is served in the order of a first iteration: timers before
// immediates.
void ServeForks(const FunctionCallbackInfo<Value>& info) {
  Isolate* const isolate = info.GetIsolate();
  the_template->prepare.Reset(isolate, info[0].As<Function>());
  the_template->run_main.Reset(isolate, info[1].As<Function>());
  the_template->run_session.Reset(isolate, info[2].As<Function>());
  the_template->node_path = *v8::String::Utf8Value(isolate, info[3]);
  uv_idle_init(the_template->loop, &the_template->turn);
  uv_close(reinterpret_cast<uv_handle_t*>(&the_template->turn), [](uv_handle_t*) {
    the_template->platform->DrainTasks(the_template->isolate);
    WaitForQuietThreads();
    const auto descriptors = LoopDescriptors::Find();
    if (!descriptors) {
      std::fprintf(stderr, "node template: %s\n", descriptors.error().message.c_str());
      ::_exit(1);
    }
    const int channel = sandbox::ServeForks({});  // returns in a child only
    if (!descriptors->Renew(*the_template->loop, channel)) FailChild("event loop");
    BecomeJob(channel);
  });
}

}  // namespace
}  // namespace forkbox::javascript

NODE_MODULE_INIT(/* exports, module, context */) {
  using namespace forkbox::javascript;  // NOLINT: the macro's function is outside
  (void)module;
  (void)context;
  NODE_SET_METHOD(exports, "checkHost", CheckHost);
  NODE_SET_METHOD(exports, "captureOutput", CaptureOutput);
  NODE_SET_METHOD(exports, "discardOutput", DiscardOutput);
  NODE_SET_METHOD(exports, "restoreOutput", RestoreOutput);
  NODE_SET_METHOD(exports, "drainTasks", DrainTasks);
  NODE_SET_METHOD(exports, "setExitCode", SetExitCode);
  NODE_SET_METHOD(exports, "watchInterrupts", WatchInterrupts);
  NODE_SET_METHOD(exports, "armInterrupts", ArmInterrupts);
  NODE_SET_METHOD(exports, "interruptPending", InterruptPending);
  NODE_SET_METHOD(exports, "serveForks", ServeForks);
}
