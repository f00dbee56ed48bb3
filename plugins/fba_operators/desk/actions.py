"""What is decided in the desk. Each route that writes has ``dependencies=MAY_ACT``, and answers with a redirect to a page."""

from fastapi import APIRouter

router = APIRouter()
