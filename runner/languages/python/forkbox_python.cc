// _forkbox: the extension module through which stock python3 becomes a template.
//
//   channel = _forkbox.serve()        blocks in the template; returns in each child
//   job = _forkbox.receive(channel)   blocks until the child's job comes
//   code = _forkbox.execute(source, path, namespace)
//   code, value = _forkbox.call(function)
//   _forkbox.answer(channel, answer)
//   _forkbox.announce(code)
//   pid = _forkbox.fork_orphan()      a copy that is not our child; 0 in the copy
//
// The Python side is template.py.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "runner/sandbox/template/fork_loop.h"

namespace {

using forkbox::sandbox::ChildJob;
using forkbox::sandbox::ForkHooks;

// The process that was given the job: what it forked does not answer for it.
pid_t owner = -1;

PyObject* Bytes(const std::string& text) {
  return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

PyObject* Serve(PyObject* /*module*/, PyObject* /*unused*/) {
  ForkHooks hooks;
  hooks.before_fork = PyOS_BeforeFork;
  hooks.after_fork_parent = PyOS_AfterFork_Parent;
  hooks.after_fork_child = PyOS_AfterFork_Child;
  return PyLong_FromLong(forkbox::sandbox::ServeForks(hooks));
}

// receive(channel) -> (source: bytes, file_name: bytes, args: list[bytes], env: dict[bytes, bytes],
//                     is_function: bool, is_session: bool, reseed: bool)
PyObject* Receive(PyObject* /*module*/, PyObject* channel) {
  const ChildJob job = forkbox::sandbox::ReceiveJob(static_cast<int>(PyLong_AsLong(channel)));
  owner = ::getpid();
  PyObject* args = PyList_New(0);
  PyObject* env = PyDict_New();
  if (args == nullptr || env == nullptr) return nullptr;
  for (const auto& arg : job.args) {
    PyObject* item = Bytes(arg);
    if (item == nullptr || PyList_Append(args, item) != 0) return nullptr;
    Py_DECREF(item);
  }
  for (const auto& [name, value] : job.env) {
    PyObject* key = Bytes(name);
    PyObject* item = Bytes(value);
    if (key == nullptr || item == nullptr || PyDict_SetItem(env, key, item) != 0) return nullptr;
    Py_DECREF(key);
    Py_DECREF(item);
  }
  return Py_BuildValue("(NNNNNNN)", Bytes(job.code), Bytes(job.file_name), args, env,
                       PyBool_FromLong(job.entry == ChildJob::Entry::kFunction ? 1 : 0),
                       PyBool_FromLong(job.entry == ChildJob::Entry::kSession ? 1 : 0),
                       PyBool_FromLong(job.reseed ? 1 : 0));
}

// What `python3 main.py` makes of SystemExit (sys.exit, documentation): None is 0, a number
// itself, anything else is printed and means 1.
int ExitCodeOf(PyObject* value) {
  PyObject* code = value != nullptr && PyExceptionInstance_Check(value)
                       ? PyObject_GetAttrString(value, "code")
                       : nullptr;
  if (code == nullptr) {
    PyErr_Clear();
    return 0;
  }
  if (code == Py_None) return 0;
  if (PyLong_Check(code)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(code, &overflow);
    return overflow != 0 ? 255 : static_cast<int>(number & 0xff);
  }
  PyObject* stderr_object = PySys_GetObject("stderr");  // borrowed
  if (stderr_object != nullptr && stderr_object != Py_None) {
    if (PyFile_WriteObject(code, stderr_object, Py_PRINT_RAW) == 0) {
      PyFile_WriteString("\n", stderr_object);
    }
  }
  PyErr_Clear();
  return 1;
}

// The exit code of the SystemExit that is being raised, which ends here.
int TakeExitCode() {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  const int exit_code = ExitCodeOf(value);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  return exit_code;
}

// While it lives the program's frames are the only ones: inspect.stack(), sys._getframe() and the
// recursion limit are as under `python3 main.py`. The fields are public but change with versions;
// where they are not known the template's two frames are seen below the program's.
class OwnStack {
 public:
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
  OwnStack()
      : thread_(PyThreadState_Get()),
        frame_(thread_->cframe->current_frame),
        depth_(thread_->recursion_limit - thread_->recursion_remaining) {
    thread_->cframe->current_frame = nullptr;
    thread_->recursion_remaining += depth_;
  }
  ~OwnStack() {
    thread_->cframe->current_frame = frame_;
    thread_->recursion_remaining -= depth_;
  }

 private:
  PyThreadState* thread_;
  _PyInterpreterFrame* frame_;
  int depth_;
#else
  OwnStack() {}   // NOLINT: not trivial, so that an unused object is no warning
  ~OwnStack() {}  // NOLINT
#endif
  OwnStack(const OwnStack&) = delete;
  OwnStack& operator=(const OwnStack&) = delete;
};

// What does not compile from memory is run from its file: the interpreter then says of bad bytes
// exactly what it always says.
PyObject* RunFile(PyObject* path, PyObject* space) {
  const char* name = PyUnicode_AsUTF8(path);
  std::FILE* file = name != nullptr ? std::fopen(name, "rb") : nullptr;
  if (file == nullptr) return nullptr;  // with the error of the compilation
  PyErr_Clear();
  return PyRun_FileExFlags(file, name, Py_file_input, space, space, 1, nullptr);
}

// execute(source: bytes, path: str, namespace: dict) -> exit code, or -SIGINT for a program that
// ended by KeyboardInterrupt. Uncaught exceptions are printed here, where no frame of ours is
// between the program and its traceback.
PyObject* Execute(PyObject* /*module*/, PyObject* arguments) {
  PyObject* source = nullptr;
  PyObject* path = nullptr;
  PyObject* space = nullptr;
  if (!PyArg_ParseTuple(arguments, "SUO!", &source, &path, &PyDict_Type, &space)) return nullptr;
  PyObject* builtins = PyImport_ImportModule("builtins");
  if (builtins == nullptr) return nullptr;
  PyObject* code =
      PyObject_CallMethod(builtins, "compile", "OOsiO", source, path, "exec", 0, Py_True);
  Py_DECREF(builtins);
  const OwnStack own_stack;
  PyObject* result = code != nullptr ? PyEval_EvalCode(code, space, space) : RunFile(path, space);
  Py_XDECREF(code);
  if (result != nullptr) {
    Py_DECREF(result);
    return PyLong_FromLong(0);
  }
  if (!PyErr_ExceptionMatches(PyExc_SystemExit)) {
    const bool interrupted = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0;
    PyErr_Print();
    return PyLong_FromLong(interrupted ? -SIGINT : 1);
  }
  return PyLong_FromLong(TakeExitCode());
}

// "Error: " and what the exception that is being raised says, on stderr; it is still raised then.
void SayError() {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyObject* text = PyObject_Str(value);
  if (text == nullptr) {
    PyErr_Clear();
    text = PyUnicode_FromString(Py_TYPE(value)->tp_name);
  }
  PyObject* stderr_object = PySys_GetObject("stderr");  // borrowed
  if (text != nullptr && stderr_object != nullptr && stderr_object != Py_None) {
    Py_INCREF(stderr_object);
    if (PyFile_WriteString("Error: ", stderr_object) == 0 &&
        PyFile_WriteObject(text, stderr_object, Py_PRINT_RAW) == 0) {
      PyFile_WriteString("\n", stderr_object);
    }
    Py_DECREF(stderr_object);
  }
  Py_XDECREF(text);
  PyErr_Clear();
  PyErr_Restore(type, value, traceback);
}

// call(function) -> (exit code, returned value). Like execute(), but every uncaught exception other
// than SystemExit is a failure, announced by a line with what it says.
PyObject* Call(PyObject* /*module*/, PyObject* function) {
  const OwnStack own_stack;
  PyObject* value = PyObject_CallNoArgs(function);
  if (value != nullptr) return Py_BuildValue("(iN)", 0, value);
  if (PyErr_ExceptionMatches(PyExc_SystemExit))
    return Py_BuildValue("(iO)", TakeExitCode(), Py_None);
  SayError();
  PyErr_Print();
  return Py_BuildValue("(iO)", 1, Py_None);
}

// answer(channel, answer: bytes). Nothing in processes that the program forked.
PyObject* Answer(PyObject* /*module*/, PyObject* arguments) {
  int channel = -1;
  const char* answer = nullptr;
  Py_ssize_t size = 0;
  if (!PyArg_ParseTuple(arguments, "iy#", &channel, &answer, &size)) return nullptr;
  if (::getpid() == owner) {
    forkbox::sandbox::SendAnswer(channel, {answer, static_cast<std::size_t>(size)});
  }
  Py_RETURN_NONE;
}

// announce(code: int): see AnnounceExit().
PyObject* Announce(PyObject* /*module*/, PyObject* code) {
  forkbox::sandbox::AnnounceExit(static_cast<int>(PyLong_AsLong(code)));
  Py_RETURN_NONE;
}

// True for a stream that there is and that is open.
bool IsOpen(PyObject* stream) {
  if (stream == nullptr || stream == Py_None) return false;
  PyObject* closed = PyObject_GetAttrString(stream, "closed");
  const int is_closed = closed != nullptr ? PyObject_IsTrue(closed) : 0;
  Py_XDECREF(closed);
  PyErr_Clear();
  return is_closed <= 0;
}

// flush_streams(report: bool) -> bool. As the interpreter flushes them when it ends: what goes
// wrong with stdout is said on stderr and makes the exit code 120.
PyObject* FlushStreams(PyObject* /*module*/, PyObject* report) {
  const OwnStack own_stack;
  bool good = true;
  for (const char* name : {"stdout", "stderr"}) {
    PyObject* stream = PySys_GetObject(name);  // borrowed
    if (!IsOpen(stream)) continue;
    Py_INCREF(stream);
    PyObject* flushed = PyObject_CallMethod(stream, "flush", nullptr);
    if (flushed == nullptr) {
      good = false;
      if (report == Py_True && std::string_view(name) == "stdout") PyErr_WriteUnraisable(stream);
      PyErr_Clear();
    }
    Py_XDECREF(flushed);
    Py_DECREF(stream);
  }
  return PyBool_FromLong(good ? 1 : 0);
}

// fork_orphan() -> 0 in the copy, else 1. The process between us and the copy ends at once, so that
// the copy is a child of the box's init. It has our memory (vfork(2)) and only forks: a copy of its
// own of a large heap would take longest of all, to make and to take down. What may not return
// from here is that process; the copy has a stack of its own and may.
PyObject* ForkOrphan(PyObject* /*module*/, PyObject* /*unused*/) {
  volatile int error = 0;
  PyOS_BeforeFork();
  const pid_t between = ::vfork();
  if (between == 0) {
    const pid_t copy = ::fork();
    if (copy != 0) {
      if (copy < 0) error = errno;
      ::_exit(0);
    }
    PyOS_AfterFork_Child();
    return PyLong_FromLong(0);
  }
  if (between < 0) error = errno;
  PyOS_AfterFork_Parent();
  while (between > 0 && ::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (error == 0) return PyLong_FromLong(1);
  errno = error;
  return PyErr_SetFromErrno(PyExc_OSError);
}

PyMethodDef methods[] = {
    {"serve", Serve, METH_NOARGS, "Be a template; return the channel in each child."},
    {"receive", Receive, METH_O, "Wait for the child's job."},
    {"execute", Execute, METH_VARARGS, "Run a program's source; return its exit code."},
    {"call", Call, METH_O, "Call a program's function; return its exit code and value."},
    {"answer", Answer, METH_VARARGS, "Send what the function's caller waits for."},
    {"announce", Announce, METH_O, "Tell the exit code, if somebody wants to know it early."},
    {"fork_orphan", ForkOrphan, METH_NOARGS, "Fork a copy that is nobody's child here."},
    {"flush_streams", FlushStreams, METH_O, "Flush stdout and stderr; False if that failed."},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_forkbox", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__forkbox() { return PyModule_Create(&definition); }
